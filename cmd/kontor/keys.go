package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func keysCommand(a *app) *cobra.Command {
	return family("keys", "Manage the keys of the exchange (operators)", &cobra.Command{
		Use: "rotate", Short: "Sign tokens with a new key from now on; tokens signed before stay good", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			var made struct {
				ID string `json:"id"`
			}
			if err := x.Post(c.Context(), x.Exchange("keys", "rotate"), nil, &made); err != nil {
				return err
			}
			if a.structured() {
				return a.write(made)
			}
			_, err = fmt.Fprintf(a.stdout, "key/%s signs from now on\n", clean(made.ID))
			return err
		},
	})
}
