package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/policy/policytest"
)

// policyCommand is what can be done with policies without an exchange.
func policyCommand(a *app) *cobra.Command {
	var dir string
	data := func() (*policy.Data, error) {
		if dir == "" {
			return policy.Builtin()
		}
		if _, err := os.Stat(dir); err != nil {
			return nil, fault.Invalid.Errorf("read data: %w", err)
		}
		return policy.Load(os.DirFS(dir))
	}
	c := family("policy", "Write and test sovereignty policies",
		a.policyTest(data), a.policyCheck(data), a.policyPresets(data), a.policyShow(data), a.policyVocabulary(),
		a.policySave(data), a.listCommand(savedPolicy), a.removeCommand(savedPolicy))
	c.PersistentFlags().StringVar(&dir, "data", "", "directory whose countries.yaml, laws.yaml, schemes.yaml, seal.yaml and policies/ take the place of the built-in ones")
	return c
}

func (a *app) policyTest(data func() (*policy.Data, error)) *cobra.Command {
	return &cobra.Command{
		Use: "test FILE…", Short: "Run tests of policies",
		Long: `Run tests of policies: providers, regions and services with what is claimed of
them, a policy, and whom it must allow or why not. A small one:

  at 2026-11-26
  provider rhone
  region fr-lyon-rhone of rhone
    region.country = FR | contract until 2027-12-31
  service vm in fr-lyon-rhone
  policy
    name: mine
    version: 1
    rule: region.country == "FR"
  judge mine
    vm
      allowed
    vm
      but region.country = DE | contract
      rule region.country == "FR"
    vm
      but region.country unknown
      fact region.country

Price sheets, sites and orders can stand there, too, and what a placement must choose
and for which reasons it must leave out the others; docs/policies.md shows how.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := data()
			if err != nil {
				return err
			}
			failed := 0
			for _, name := range args {
				text, err := os.ReadFile(name)
				if err != nil {
					return fault.Invalid.Errorf("read tests: %w", err)
				}
				r, err := policytest.Run(name, text, d)
				if err != nil {
					return err
				}
				for _, f := range r.Failures {
					fmt.Fprintln(a.stdout, f)
				}
				failed += len(r.Failures)
				fmt.Fprintf(a.stdout, "%s: %d of %d as expected\n", name, r.Checks-len(r.Failures), r.Checks)
			}
			if failed > 0 {
				return exitError(1)
			}
			return nil
		},
	}
}

func (a *app) policyCheck(data func() (*policy.Data, error)) *cobra.Command {
	return &cobra.Command{
		Use: "check FILE…", Short: "Say whether policies mean something, and where not", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := data()
			if err != nil {
				return err
			}
			for _, name := range args {
				text, err := os.ReadFile(name)
				if err != nil {
					return fault.Invalid.Errorf("read policy: %w", err)
				}
				p, err := d.Parse(name, text)
				if err != nil {
					return hinted{err, "kontor policy vocabulary"}
				}
				fmt.Fprintf(a.stdout, "%s: policy %s is fine; it costs at most %d steps for each candidate\n", name, p.Policy.Name, p.Cost)
			}
			return nil
		},
	}
}

func (a *app) policyPresets(data func() (*policy.Data, error)) *cobra.Command {
	return &cobra.Command{
		Use: "presets", Short: "List the ready-made policies", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			d, err := data()
			if err != nil {
				return err
			}
			if a.structured() {
				return a.write(map[string]any{"items": d.Presets})
			}
			t := a.table("NAME", "VERSION", "TITLE")
			for _, p := range d.Presets {
				t.row(p.Name, fmt.Sprint(p.Version), p.Title)
			}
			return t.flush()
		},
	}
}

func (a *app) policyShow(data func() (*policy.Data, error)) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME[@VERSION]", Short: "Show a ready-made policy, to begin one's own with, or one of the tenant's", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := data()
			if err != nil {
				return err
			}
			p, err := d.Preset(args[0])
			if err != nil {
				saved, saying := a.findPolicy(c.Context(), args[0])
				if usage := (usageError{}); errors.As(saying, &usage) { // without an exchange there are ready-made ones alone
					saying = err
				}
				if saying != nil {
					return hinted{saying, "kontor policy presets, kontor policy list"}
				}
				p = saved
			}
			if a.output == "json" {
				return a.write(p)
			}
			b, err := yaml.Marshal(p)
			if err != nil {
				return fmt.Errorf("write policy: %w", err)
			}
			_, err = a.stdout.Write(b)
			return err
		},
	}
}

func (a *app) policyVocabulary() *cobra.Command {
	return &cobra.Command{
		Use: "vocabulary", Short: "List what policies can speak of", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.structured() {
				return a.write(map[string]any{"items": policy.Vocabulary()})
			}
			t := a.table("ATTRIBUTE", "TYPE", "OF", "USUAL EVIDENCE", "ABOUT")
			for _, v := range policy.Vocabulary() {
				t.row(v.Path, v.Type, string(v.Subject), string(v.Usually), v.About)
			}
			return t.flush()
		},
	}
}
