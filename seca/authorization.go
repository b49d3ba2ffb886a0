package seca

// RoleSpec is what a role allows.
type RoleSpec struct {
	Permissions []Permission `json:"permissions" schema:"required,min=1,max=256"`
}

// A Permission allows verbs on resources of one provider.
type Permission struct {
	Provider  string   `json:"provider" schema:"required,min=1,max=64"`
	Resources []string `json:"resources" schema:"required,min=1,max=256"`
	Verb      []string `json:"verb" schema:"required,min=1,max=16"`
}

// RoleAssignmentSpec gives roles to subjects within scopes.
type RoleAssignmentSpec struct {
	Subs   []string `json:"subs" schema:"required,min=1,max=256"`
	Roles  []string `json:"roles" schema:"required,min=1,max=32"`
	Scopes []Scope  `json:"scopes" schema:"required,min=1,max=256"`
}

// A Scope limits an assignment. An empty dimension covers everything.
type Scope struct {
	Tenants    []string `json:"tenants,omitempty"`
	Regions    []string `json:"regions,omitempty"`
	Workspaces []string `json:"workspaces,omitempty"`
}

// WorkspaceSpec is empty by the standard.
type WorkspaceSpec map[string]any

// WorkspaceStatus counts what is in a workspace.
type WorkspaceStatus struct {
	ResourceCount *int `json:"resourceCount,omitempty"`
}
