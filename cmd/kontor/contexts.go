package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/fault"
)

// contexts is the file ~/.config/kontor/config.yaml.
type contexts struct {
	Current  string     `json:"current,omitempty"`
	Contexts []settings `json:"contexts,omitempty"`
}

func (f *contexts) find(name string) *settings {
	for i := range f.Contexts {
		if f.Contexts[i].Name == name {
			return &f.Contexts[i]
		}
	}
	return nil
}

func (f *contexts) names() []string {
	names := make([]string, len(f.Contexts))
	for i, c := range f.Contexts {
		names[i] = c.Name
	}
	return names
}

// contextsFile is where contexts are kept; "" if there is no home.
func (a *app) contextsFile() string {
	switch {
	case a.env["KONTOR_CONFIG"] != "":
		return a.env["KONTOR_CONFIG"]
	case a.env["XDG_CONFIG_HOME"] != "":
		return filepath.Join(a.env["XDG_CONFIG_HOME"], "kontor", "config.yaml")
	case a.env["HOME"] != "":
		return filepath.Join(a.env["HOME"], ".config", "kontor", "config.yaml")
	}
	return ""
}

func (a *app) readContexts() (contexts, error) {
	var f contexts
	name := a.contextsFile()
	if name == "" {
		return f, nil
	}
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = yaml.UnmarshalStrict(b, &f)
	}
	if err != nil {
		return f, fault.Invalid.Errorf("read contexts in %s: %w", name, err)
	}
	return f, nil
}

func (a *app) writeContexts(f contexts) error {
	name := a.contextsFile()
	if name == "" {
		return usagef("no place for contexts: neither KONTOR_CONFIG nor HOME is set")
	}
	b, err := yaml.Marshal(f)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err == nil {
		err = writePrivate(name, b)
	}
	if err != nil {
		return fault.Invalid.Errorf("write contexts to %s: %w", name, err)
	}
	return nil
}

func contextCommand(a *app) *cobra.Command {
	c := family("context", "Remember exchanges and places under a name", a.contextList(), a.contextShow(), a.contextSet(), a.contextUse(), a.contextDelete())
	c.PersistentFlags().StringVarP(&a.output, "output", "o", "", "json or yaml instead of a table")
	a.outputFlag(c.PersistentFlags(), "json")
	a.outputFlag(c.PersistentFlags(), "yaml")
	return c
}

func (a *app) contextList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List contexts; * is the one in use", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			f, err := a.readContexts()
			if err != nil {
				return err
			}
			if a.structured() {
				return a.write(f)
			}
			t := a.table("", "NAME", "URL", "TENANT", "REGION", "WORKSPACE")
			for _, c := range f.Contexts {
				mark := " "
				if c.Name == f.Current {
					mark = "*"
				}
				t.row(mark, c.Name, c.URL, c.Tenant, c.Region, c.Workspace)
			}
			return t.flush()
		},
	}
}

func (a *app) contextShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Short: "Show a context, or the settings in force: flags over environment over context", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completes(a.contextNames),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.context = args[0]
			}
			s, err := a.resolve()
			if err != nil {
				return err
			}
			if a.output == "" {
				a.output = "yaml"
			}
			return a.write(s)
		},
	}
}

func (a *app) contextSet() *cobra.Command {
	var to settings
	c := &cobra.Command{
		Use: "set NAME", Short: "Make or change a context; the first one is in use at once", Args: cobra.ExactArgs(1),
		Example:           "  kontor context set demo --url http://127.0.0.1:8080 --token-file .demo/admin.token --tenant demo",
		ValidArgsFunction: a.completes(a.contextNames),
		RunE: func(_ *cobra.Command, args []string) error {
			to.Name = args[0]
			return a.setContext(to)
		},
	}
	for _, flag := range []struct {
		name, help string
		to         *string
	}{
		{"url", "address of the exchange", &to.URL},
		{"token-file", "file that holds the token", &to.TokenFile},
		{"ca", "file of further certificate authorities to trust (PEM)", &to.CA},
		{"tenant", "tenant", &to.Tenant},
		{"region", "region", &to.Region},
		{"workspace", "workspace", &to.Workspace},
	} {
		c.Flags().StringVar(flag.to, flag.name, "", flag.help)
	}
	return c
}

// setContext makes a context, or changes of one what to says.
func (a *app) setContext(to settings) error {
	f, err := a.readContexts()
	if err != nil {
		return err
	}
	for _, path := range []*string{&to.TokenFile, &to.CA} {
		if *path, err = absolute(*path); err != nil {
			return err
		}
	}
	if have := f.find(to.Name); have != nil {
		*have = to.over(*have)
	} else {
		f.Contexts = append(f.Contexts, to)
	}
	if f.Current == "" {
		f.Current = to.Name
	}
	return a.writeContexts(f)
}

// absolute keeps the meaning of a path in another directory.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

func (a *app) contextUse() *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Use a context from now on", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.contextNames),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeContext(args[0], func(f *contexts) { f.Current = args[0] })
		},
	}
}

func (a *app) contextDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Forget a context", Args: cobra.ExactArgs(1), ValidArgsFunction: a.completes(a.contextNames),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.changeContext(args[0], func(f *contexts) {
				kept := f.Contexts[:0]
				for _, c := range f.Contexts {
					if c.Name != args[0] {
						kept = append(kept, c)
					}
				}
				if f.Contexts = kept; f.Current == args[0] {
					f.Current = ""
				}
			})
		},
	}
}

// changeContext changes the file around a context that must be there.
func (a *app) changeContext(name string, change func(*contexts)) error {
	f, err := a.readContexts()
	if err != nil {
		return err
	}
	if f.find(name) == nil {
		return usagef("there is no context %q%s", name, fault.DidYouMean(name, f.names()))
	}
	change(&f)
	return a.writeContexts(f)
}
