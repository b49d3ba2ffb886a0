package job

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// An Outcome is how a job's last run went.
type Outcome struct {
	Name     string    `json:"name"`
	Began    time.Time `json:"beganAt"`
	Ended    time.Time `json:"endedAt"`
	Error    string    `json:"error,omitempty"`
	Failures int       `json:"failures"` // runs in a row that failed
}

const columns = `name, began_at, ended_at, error, failures`

func scan(scan func(...any) error) (o Outcome, err error) {
	var began, ended int64
	err = scan(&o.Name, &began, &ended, &o.Error, &o.Failures)
	o.Began, o.Ended = db.Time(began), db.Time(ended)
	return o, err
}

// Outcomes lists all jobs that have ever run, by name.
func Outcomes(ctx context.Context, d *db.DB) ([]Outcome, error) {
	return db.All(ctx, d, scan, `SELECT `+columns+` FROM job ORDER BY name`)
}

// find is the last outcome of a job; zero if it never ran.
func find(ctx context.Context, d *db.DB, name string) (Outcome, error) {
	o, err := db.One(ctx, d, scan, `SELECT `+columns+` FROM job WHERE name = $1`, name)
	if fault.KindOf(err) == fault.Missing {
		return Outcome{}, nil
	}
	return o, err
}

func note(ctx context.Context, d *db.DB, o Outcome) error {
	_, err := db.Exec(ctx, d, `
		INSERT INTO job (`+columns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO UPDATE SET
			began_at = excluded.began_at, ended_at = excluded.ended_at, error = excluded.error, failures = excluded.failures`,
		o.Name, db.Micros(o.Began), db.Micros(o.Ended), o.Error, o.Failures)
	return err
}
