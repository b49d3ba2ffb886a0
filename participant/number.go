package participant

import (
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A register is a list of legal persons that numbers them.
type register struct {
	form
	country string // whose legal persons alone are in it; "" for any
	example string
}

// registers are those whose numbers can be checked, and EUID for all others of the Union:
// it names the register itself, and its digits are the register's own.
var registers = map[string]register{
	"LEI":   {form{`[0-9A-Z]{18}\d{2}`, func(n string) bool { return mod97(n) == 1 }}, "", "LEI 529900T8BM49AURSDO55"},
	"EUID":  {form{`[A-Z]{2}[0-9A-Z-]+\.[0-9A-Za-z./-]+(_[0-9A-Za-z]+)?`, euid}, "", "EUID DEK1101R.HRB116737"},
	"SIREN": {form{`\d{9}`, luhn}, "FR", "SIREN 552100554"},
	"SIRET": {form{`\d{14}`, func(n string) bool { return luhn(n[:9]) && (luhn(n) || laPoste(n)) }}, "FR", "SIRET 73282932000074"},
	"KBO":   {form{`[01]\d{9}`, vatForms["BE"].check}, "BE", "KBO 0202239951"},
	"CVR":   {form{`\d{8}`, vatForms["DK"].check}, "DK", "CVR 24256790"},
	"ORGNR": {form{`\d{9}`, norwegian}, "NO", "ORGNR 988077917"},
	"UID":   {form{`CHE\d{9}`, func(n string) bool { return swiss(n[3:]) }}, "CH", "UID CHE100155212"},
}

// checkRegister reports what is wrong with a register number, which is written with the
// name of its register: "SIREN 552100554".
func checkRegister(text, country string) error {
	name, n, _ := strings.Cut(text, " ")
	r, known := registers[name]
	switch {
	case !known:
		return fault.Invalid.Errorf("must begin with LEI, EUID, SIREN, SIRET, KBO, CVR, ORGNR or UID, as in %q", registers["EUID"].example)
	case r.country != "" && r.country != country:
		return fault.Invalid.Errorf("is of the register of %s, and the participant of %s", r.country, country)
	case name == "EUID" && (len(n) < 2 || n[:2] != vatPrefix(country)):
		return fault.Invalid.Errorf("must be an EUID of %s: it begins with %s", country, vatPrefix(country))
	}
	return r.holds(n, name)
}

// euid looks into those whose digits are known here.
func euid(n string) bool {
	_, own, _ := strings.Cut(n, ".")
	own, _, _ = strings.Cut(own, "_")
	if digits := strings.ReplaceAll(own, " ", ""); strings.HasPrefix(n, "FR") && len(digits) == 9 && isDigits(digits) {
		return luhn(digits)
	}
	return true
}

// laPoste numbers its offices by another rule.
func laPoste(n string) bool {
	sum := 0
	for i := range len(n) {
		sum += digit(n, i)
	}
	return n[:9] == "356000000" && sum%5 == 0
}

// tidy writes a number without the blanks and dots that people put into it.
func tidy(n string) string {
	return strings.NewReplacer(" ", "", ".", "", "-", "", "/", "").Replace(strings.ToUpper(strings.TrimSpace(n)))
}

// tidyRegister is tidy for what begins with the name of a register. An EUID has its own signs.
func tidyRegister(text string) string {
	name, n, _ := strings.Cut(strings.TrimSpace(text), " ")
	name = strings.ToUpper(name)
	if name == "EUID" {
		return name + " " + strings.ReplaceAll(n, " ", "")
	}
	return strings.TrimSpace(name + " " + tidy(n))
}

func digit(n string, i int) int { return int(n[i] - '0') }

func number(n string) int64 {
	v, _ := strconv.ParseInt(n, 10, 64) // of digits, and short
	return v
}

func isDigits(n string) bool { return strings.Trim(n, "0123456789") == "" }

// weigh sums the first digits, each times its weight.
func weigh(n string, weights ...int) (sum int) {
	for i, w := range weights {
		sum += w * digit(n, i)
	}
	return sum
}

// luhnSum is ISO/IEC 7812: every second digit counts twice, from the last but
// one of what a check digit is to follow.
func luhnSum(n string) (sum int) {
	for i := range len(n) {
		d := digit(n, len(n)-1-i)
		if i%2 == 0 {
			d = d*2%10 + d/5
		}
		sum += d
	}
	return sum
}

// luhn checks digits whose last follows from the others.
func luhn(n string) bool {
	last := len(n) - 1
	return (luhnSum(n[:last])+digit(n, last))%10 == 0
}

// mod11and10 checks digits by ISO/IEC 7064, MOD 11,10.
func mod11and10(n string) bool {
	product := 10
	for i := range len(n) - 1 {
		sum := (digit(n, i) + product) % 10
		if sum == 0 {
			sum = 10
		}
		product = sum * 2 % 11
	}
	return (11-product)%10 == digit(n, len(n)-1)
}

// mod97 is ISO/IEC 7064, MOD 97-10: letters count from A = 10.
func mod97(n string) (rest int) {
	for _, c := range []byte(n) {
		switch {
		case c >= '0' && c <= '9':
			rest = (rest*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			rest = (rest*100 + int(c-'A') + 10) % 97
		default: // of the Dutch: + is 36 and * 37
			rest = (rest*100 + strings.IndexByte("+*", c) + 36) % 97
		}
	}
	return rest
}
