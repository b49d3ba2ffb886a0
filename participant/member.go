package participant

import (
	"context"
	"fmt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// Members lists the accounts that act for a participant.
func (s *Store) Members(ctx context.Context, name string) ([]string, error) {
	return db.All(ctx, s.DB, db.Scan[string], `SELECT account FROM participant_member WHERE participant = $1 ORDER BY account`, name)
}

// Of lists the participants that an account acts for.
func (s *Store) Of(ctx context.Context, account string) ([]string, error) {
	return db.All(ctx, s.DB, db.Scan[string], `SELECT participant FROM participant_member WHERE account = $1 ORDER BY participant`, account)
}

// AddMember lets an account act for a participant. Either being unknown is a Conflict.
func (s *Store) AddMember(ctx context.Context, name, account string) error {
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		noteChange(ctx, name+"/members/"+account, "added")
		return addMember(ctx, tx, name, account)
	})
	if err != nil {
		return fmt.Errorf("let %s act for %s: %w", account, name, err)
	}
	return nil
}

func addMember(ctx context.Context, tx *db.Tx, name, account string) error {
	_, err := db.Exec(ctx, tx, `INSERT INTO participant_member (participant, account) VALUES ($1, $2) ON CONFLICT (participant, account) DO NOTHING`, name, account)
	return err
}

// RemoveMember ends that, or returns fault.Missing. The participant's own account stays.
func (s *Store) RemoveMember(ctx context.Context, name, account string) error {
	if account == Account(name) {
		return fault.Conflict.Errorf("%s is who logs in with a key of %s; revoke the key instead", account, name)
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		noteChange(ctx, name+"/members/"+account, "removed")
		n, err := db.Exec(ctx, tx, `DELETE FROM participant_member WHERE participant = $1 AND account = $2`, name, account)
		if err == nil && n == 0 {
			err = fault.Missing.Errorf("%s does not act for %s", account, name)
		}
		return err
	})
}
