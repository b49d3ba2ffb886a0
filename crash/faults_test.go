package crash

func (tr *tour) faults() {}
