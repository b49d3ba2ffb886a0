package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/doctor"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/participant"
)

func (a *app) providerMeasure() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "measure NAME --region REGION -f REPORT", Short: "Make what the doctor has measured in a region evidence of it (operators)",
		Long: `Make what "kontor doctor --json" has measured in a participant's region evidence of level measured,
for 90 days. It takes the place of what was measured there before. The SHA-256 of the report is the proof:
keep the file. Run the doctor yourself, from where customers are: a report that somebody hands you
proves nothing. A report of a failed check, or older than a week, is refused.`,
		Example: `  kontor doctor --driver openstack --dir probe --driver-config rhone.json --json > rhone-2026-07.json
  kontor provider measure rhone --region fr-lyon-rhone -f rhone-2026-07.json`,
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			if a.flags.Region == "" {
				return usagef("say where it was measured: --region REGION")
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return fault.Invalid.Errorf("read the report: %w", err)
			}
			if _, err := doctor.Read(file, text, time.Now()); err != nil { // mistakes have a line here
				return err
			}
			x, err := a.connect()
			if err != nil {
				return err
			}
			var d participant.Difference
			in := map[string]any{"region": a.flags.Region, "report": text}
			if err := x.Post(c.Context(), party(x, args[0], "measurements"), in, &d); err != nil {
				return err
			}
			if a.structured() {
				return a.write(d)
			}
			fmt.Fprintf(a.stdout, "measured in %s: %d added, %d as before, %d withdrawn\n", a.flags.Region, d.Added, d.Kept, d.Withdrawn)
			a.next("kontor provider show %s", args[0])
			return nil
		},
	}
	c.Flags().StringVarP(&file, "filename", "f", "", "report of kontor doctor --json")
	_ = c.MarkFlagRequired("filename") // the flag is there
	return c
}
