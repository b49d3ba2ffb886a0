package tenant

import "github.com/kontor-cloud/kontor/seca"

// SystemRoles are the roles that every tenant has and none can change.
// It is read-only.
var SystemRoles = map[string]seca.RoleSpec{
	"seca.admin":            role(permission("*", "*")),
	"seca.region-admin":     role(permission("seca.workspace/v1", "*"), append(everything("*"), activity)...),
	"seca.workspace-admin":  role(permission("seca.workspace/v1", "get", "list", "put", "post"), append(everything("*"), activity)...),
	"seca.workspace-editor": role(permission("seca.workspace/v1", "get", "list", "put", "post"), everything("get", "list", "put", "post")...),
	"seca.workspace-viewer": role(permission("seca.workspace/v1", "get", "list"), everything("get", "list")...),
}

// activity is the log of what happened in a workspace.
var activity = permission("seca.activitylog/v1beta1", "list")

func role(first seca.Permission, more ...seca.Permission) seca.RoleSpec {
	return seca.RoleSpec{Permissions: append([]seca.Permission{first}, more...)}
}

func permission(provider string, verbs ...string) seca.Permission {
	return seca.Permission{Provider: provider, Resources: []string{"*"}, Verb: verbs}
}

// everything is what lies in workspaces, and what Kontor adds to it.
func everything(verbs ...string) []seca.Permission {
	var all []seca.Permission
	for _, provider := range []string{"seca.compute/v1", "seca.storage/v1", "seca.network/v1", "kontor.exchange/v1"} {
		all = append(all, permission(provider, verbs...))
	}
	return all
}
