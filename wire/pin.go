package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// An enrolment token is ID.SECRET.PIN. The pin lets an agent know its exchange
// before it has the exchange's certificate: the chain that the listener
// presents must end in a certificate with this pin.

// Pin is the mark of a certificate authority: base64url of the SHA-256 of its
// certificate in DER.
func Pin(ca []byte) string {
	sum := sha256.Sum256(ca)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// PinOf returns the pin within an enrolment token, or "" if the token is none.
func PinOf(token string) string {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return ""
	}
	return part[2]
}
