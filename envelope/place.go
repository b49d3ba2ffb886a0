package envelope

import "strings"

// A Column is one that holds sealed values. The key of its table is a column
// named id.
type Column struct{ Table, Name string }

// String is TABLE.COLUMN.
func (c Column) String() string { return c.Table + "." + c.Name }

// Row is the column's place in the row with that id.
func (c Column) Row(id string) Place { return Place{c, id} }

// A Place is where a sealed value stands; it opens nowhere else.
type Place struct {
	Column Column
	ID     string // of the row
}

// about is what is authenticated along with a value. No name has a zero byte.
func (p Place) about(keyID string) []byte {
	return bind("kontor sealed", keyID, p.Column.Table, p.Column.Name, p.ID)
}

// columnOf is the reverse of Column.String.
func columnOf(purpose string) Column {
	table, name, _ := strings.Cut(purpose, ".")
	return Column{table, name}
}

func bind(parts ...string) []byte { return []byte(strings.Join(parts, "\x00")) }
