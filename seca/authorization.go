package seca

// RoleSpec is what a role allows.
type RoleSpec struct {
	Permissions []Permission `json:"permissions"`
}

// A Permission allows verbs on resources of one provider.
type Permission struct {
	Provider  string   `json:"provider"`
	Resources []string `json:"resources"`
	Verb      []string `json:"verb"`
}

// RoleAssignmentSpec gives roles to subjects within scopes.
type RoleAssignmentSpec struct {
	Subs   []string `json:"subs"`
	Roles  []string `json:"roles"`
	Scopes []Scope  `json:"scopes"`
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
