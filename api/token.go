package api

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/fault"
)

// A skip token is where a page ended: "urn id", or a name. It is opaque to
// clients, holds no secret, and gives no access: the collection is part of
// every query, and a token from another one finds nothing.
func encodeToken(after string) string { return base64.RawURLEncoding.EncodeToString([]byte(after)) }

func decodeToken(token string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) == 0 || len(b) > 1024 || strings.ContainsRune(string(b), 0) || !utf8.Valid(b) {
		return "", fault.Parameter(fault.Malformed.Errorf("skipToken is not one of ours; start again without it"), "skipToken")
	}
	return string(b), nil
}
