package agent

import "testing"

// TestGroupsOfOtherWorkspacesAreOthers: two tenants may have the same word for
// machines that are to be on different hosts.
func TestGroupsOfOtherWorkspacesAreOthers(t *testing.T) {
	const of = "seca.compute/v1/tenants/acme/workspaces/shop/instances/"
	if apart(of+"one", "db: a") != apart(of+"two", "db: a") {
		t.Error("two machines of one workspace are in different groups")
	}
	if apart(of+"one", "db: a") == apart("seca.compute/v1/tenants/other/workspaces/shop/instances/one", "db: a") {
		t.Error("machines of two tenants are in one group")
	}
	for _, group := range []string{"db: a", ""} {
		if got := groupIn(apart(of+"one", group)); got != group {
			t.Errorf("the group %q is read back as %q", group, got)
		}
	}
}
