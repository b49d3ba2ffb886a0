package participant

import (
	"regexp"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A form is how numbers of one country or register are made: what they look like,
// and how their check digits follow from the rest where that is public.
type form struct {
	look  string            // a regular expression for all of it
	check func(string) bool // nil where only the look is known
}

// vatForms are the VAT numbers of the Union, its neighbours and Northern Ireland, by
// prefix. The look is that of the Commission's VIES.
var vatForms = map[string]form{
	"AT": {`U\d{8}`, func(n string) bool { return (luhnSum(n[1:8]+"0")+4+digit(n, 8))%10 == 0 }},
	"BE": {`[01]\d{9}`, func(n string) bool { return number(n[:8])%97 == 97-number(n[8:]) }},
	"BG": {`\d{9,10}`, bulgarian},
	"CY": {`\d{8}[A-Z]`, cypriot},
	"CZ": {`\d{8,10}`, func(n string) bool {
		return len(n) != 8 || (11-weigh(n, 8, 7, 6, 5, 4, 3, 2)%11)%10 == digit(n, 7) // else a person's
	}},
	"DE": {`[1-9]\d{8}`, mod11and10},
	"DK": {`[1-9]\d{7}`, func(n string) bool { return weigh(n, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0 }},
	"EE": {`10\d{7}`, func(n string) bool { return weigh(n, 3, 7, 1, 3, 7, 1, 3, 7, 1)%10 == 0 }},
	"EL": {`\d{9}`, func(n string) bool { return weigh(n, 256, 128, 64, 32, 16, 8, 4, 2)%11%10 == digit(n, 8) }},
	"ES": {`[A-Z0-9]\d{7}[A-Z0-9]`, spanish},
	"FI": {`\d{8}`, func(n string) bool { return weigh(n, 7, 9, 10, 5, 8, 4, 2, 1)%11 == 0 }},
	"FR": {`[0-9A-HJ-NP-Z]{2}\d{9}`, french},
	"HR": {`\d{11}`, mod11and10},
	"HU": {`\d{8}`, func(n string) bool { return weigh(n, 9, 7, 3, 1, 9, 7, 3, 1)%10 == 0 }},
	"IE": {`\d[0-9A-Z+*]\d{5}[A-W][A-I]?`, irish},
	"IT": {`\d{11}`, luhn},
	"LT": {`(\d{7}1\d|\d{10}1\d)`, lithuanian},
	"LU": {`\d{8}`, func(n string) bool { return number(n[:6])%89 == number(n[6:]) }},
	"LV": {`\d{11}`, func(n string) bool {
		return n[0] <= '3' || weigh(n, 9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1)%11 == 3 // else a person's
	}},
	"MT": {`[1-9]\d{7}`, func(n string) bool { return weigh(n, 3, 4, 6, 7, 8, 9, 10, 1)%37 == 0 }},
	"NL": {`\d{9}B\d{2}`, func(n string) bool { return weigh(n, 9, 8, 7, 6, 5, 4, 3, 2, -1)%11 == 0 || mod97("NL"+n) == 1 }},
	"PL": {`\d{10}`, func(n string) bool { return weigh(n, 6, 5, 7, 2, 3, 4, 5, 6, 7, -1)%11 == 0 }},
	"PT": {`[1-9]\d{8}`, func(n string) bool { return (11-weigh(n, 9, 8, 7, 6, 5, 4, 3, 2)%11)%11%10 == digit(n, 8) }},
	"RO": {`[1-9]\d{1,9}`, func(n string) bool {
		return weigh(strings.Repeat("0", 10-len(n))+n, 7, 5, 3, 2, 1, 7, 5, 3, 2)*10%11%10 == digit(n, len(n)-1)
	}},
	"SE": {`\d{10}\d[1-9]`, func(n string) bool { return luhn(n[:10]) }},
	"SI": {`[1-9]\d{7}`, func(n string) bool {
		rest := 11 - weigh(n, 8, 7, 6, 5, 4, 3, 2)%11
		return rest != 11 && rest%10 == digit(n, 7)
	}},
	"SK": {`[1-9]\d{9}`, func(n string) bool { return number(n)%11 == 0 }},

	"XI":  {`(\d{9}|\d{12}|GD\d{3}|HA\d{3})`, nil},
	"GB":  {`(\d{9}|\d{12}|GD\d{3}|HA\d{3})`, nil},
	"NO":  {`\d{9}(MVA)?`, norwegian},
	"IS":  {`\d{5,6}`, nil},
	"LI":  {`\d{5}`, nil},
	"CHE": {`\d{9}(MWST|TVA|IVA)?`, swiss},
}

// checkVAT reports what is wrong with a VAT number of a participant in a country. It
// does not ask anybody whether the number was given out: that is the operator's part.
func checkVAT(vat, country string) error {
	prefix, rest := cutPrefix(vat)
	f, known := vatForms[prefix]
	switch {
	case !known:
		return fault.Invalid.Errorf("must begin with the country that gave it, like FR or EL; %q is none that is known here", prefix)
	case prefix != vatPrefix(country) && (prefix != "XI" || country != "GB"):
		return fault.Invalid.Errorf("must begin with %s, as the participant is registered in %s", vatPrefix(country), country)
	}
	return f.holds(rest, "VAT number of "+country)
}

func cutPrefix(vat string) (prefix, rest string) {
	n := min(2, len(vat))
	if strings.HasPrefix(vat, "CHE") {
		n = 3
	}
	return vat[:n], vat[n:]
}

// vatPrefix is what a country's VAT numbers begin with.
func vatPrefix(country string) string {
	switch country {
	case "GR":
		return "EL"
	case "CH":
		return "CHE"
	case "MC": // pays VAT as France does
		return "FR"
	}
	return country
}

func (f form) holds(n, what string) error {
	if ok, err := regexp.MatchString("^"+f.look+"$", n); err != nil || !ok {
		return fault.Invalid.Errorf("is no %s: %q does not look like one", what, n)
	}
	if f.check != nil && !f.check(n) {
		return fault.Invalid.Errorf("is no %s: the check digits of %q do not fit; look for a typing mistake", what, n)
	}
	return nil
}

func bulgarian(n string) bool {
	if len(n) == 10 { // a person's
		return true
	}
	rest := weigh(n, 1, 2, 3, 4, 5, 6, 7, 8) % 11
	if rest == 10 {
		rest = weigh(n, 3, 4, 5, 6, 7, 8, 9, 10) % 11
	}
	return rest%10 == digit(n, 8)
}

func cypriot(n string) bool {
	odd := [...]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21}
	sum := 0
	for i := range 8 {
		if d := digit(n, i); i%2 == 0 {
			sum += odd[d]
		} else {
			sum += d
		}
	}
	return n[:2] != "12" && int(n[8]-'A') == sum%26
}

func spanish(n string) bool {
	const letters = "TRWAGMYFPDXBNJZSQVHLCKE"
	if i := strings.IndexByte("XYZ", n[0]); i >= 0 { // a foreign person's
		n = string(rune('0'+i)) + n[1:]
	}
	if n[0] >= '0' && n[0] <= '9' {
		return letters[number(n[:8])%23] == n[8]
	}
	control := (10 - luhnSum(n[1:8])%10) % 10
	return strings.IndexByte("ABCDEFGHJNPQRSUVW", n[0]) >= 0 && (n[8] == byte('0'+control) || n[8] == "JABCDEFGHI"[control])
}

func french(n string) bool {
	const alphabet = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
	if !luhn(n[2:]) && !strings.HasPrefix(n[2:], "000") { // of Monaco
		return false
	}
	a, b := strings.IndexByte(alphabet, n[0]), strings.IndexByte(alphabet, n[1])
	if a < 10 && b < 10 {
		return number(n[:2]) == number(n[2:]+"12")%97
	}
	key := a*34 + b - 100
	if a < 10 {
		key = a*24 + b - 10
	}
	return (number(n[2:])+1+int64(key/11))%11 == int64(key%11)
}

func irish(n string) bool {
	const letters = "WABCDEFGHIJKLMNOPQRSTUV"
	if n[1] < '0' || n[1] > '9' { // of before 2013
		n = "0" + n[2:7] + n[:1] + n[7:]
	}
	sum := weigh(n, 8, 7, 6, 5, 4, 3, 2)
	if len(n) == 9 {
		sum += 9 * strings.IndexByte(letters, n[8])
	}
	return letters[sum%23] == n[7]
}

func lithuanian(n string) bool {
	last := len(n) - 1
	sum := func(from int) (s int) {
		for i := range last {
			s += (1 + (i+from)%9) * digit(n, i)
		}
		return s
	}
	rest := sum(0) % 11
	if rest == 10 {
		rest = sum(2) % 11
	}
	return rest%10 == digit(n, last)
}

func norwegian(n string) bool { return weigh(n, 3, 2, 7, 6, 5, 4, 3, 2, 1)%11 == 0 }

func swiss(n string) bool { return weigh(n, 5, 4, 3, 2, 7, 6, 5, 4, 1)%11 == 0 }
