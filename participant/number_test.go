package participant

import (
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
)

// Numbers that are in public use, of companies everybody knows, and of the rules' own examples.
func TestVATNumbers(t *testing.T) {
	for country, numbers := range map[string]string{
		"AT": "ATU13585627", "BE": "BE0202239951", "BG": "BG175074752", "CY": "CY10259033P", "CZ": "CZ45274649",
		"DE": "DE136695976 DE812871812 DE143454214", "DK": "DK24256790", "EE": "EE100931558", "GR": "EL094259216", "ES": "ESJ99216582 ESA82018474 ESX2482300W",
		"FI": "FI20774740", "FR": "FR40303265045 FR23334175221 FR22424761419 FRK7399859412", "HR": "HR33392005961", "HU": "HU12892312",
		"IE": "IE6433435F IE8D79739I IE6388047V", "IT": "IT00743110157", "LT": "LT119511515 LT100001919017 LT100004801610", "LU": "LU15027442",
		"LV": "LV40003521600", "MT": "MT11679112", "NL": "NL004495445B01", "PL": "PL8567346215", "PT": "PT501964843", "RO": "RO18547290",
		"SE": "SE123456789701", "SI": "SI50223054", "SK": "SK2022749619", "NO": "NO988077917MVA", "CH": "CHE100155212MWST", "GB": "GB980780684 XI980780684",
		"MC": "FR53000004605",
	} {
		for vat := range strings.FieldsSeq(numbers) {
			if err := checkVAT(vat, country); err != nil {
				t.Errorf("%s: %v", vat, err)
			}
			prefix, _ := cutPrefix(vat)
			if vatForms[prefix].check == nil {
				continue
			}
			i := len(prefix) + 2
			wrong := vat[:i] + string('0'+(vat[i]-'0'+1)%10) + vat[i+1:]
			if err := checkVAT(wrong, country); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s with another digit, %s, is fine: %v", vat, wrong, err)
			}
		}
	}
	for vat, country := range map[string]string{
		"": "FR", "F": "FR", "FR": "FR", "FR40303265046": "FR", "FR41303265045": "FR", "DE136695976": "FR", "GR094259216": "GR", "US123": "US", "ZZ1": "ZZ",
		"FR4030326504５": "FR", "IE6433435F9": "IE", "ES+1234567A": "ES", "CHE": "CH",
	} {
		if err := checkVAT(vat, country); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q of %s: %v", vat, country, err)
		}
	}
}

func TestRegisterNumbers(t *testing.T) {
	for text, country := range map[string]string{
		"LEI 529900T8BM49AURSDO55": "DE", "EUID DEK1101R.HRB116737": "DE", "EUID FRRCS.552100554": "FR", "SIREN 552100554": "FR", "SIRET 73282932000074": "FR",
		"SIRET 35600000000048": "FR", "KBO 0202239951": "BE", "CVR 24256790": "DK", "ORGNR 988077917": "NO", "UID CHE100155212": "CH", "EUID ELGEMI.1234": "GR",
	} {
		if err := checkRegister(text, country); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, country := range map[string]string{
		"": "FR", "552100554": "FR", "SIREN": "FR", "SIREN 552100555": "FR", "SIREN 55210055": "FR", "SIREN 552100554 ": "FR", "KBO 0202239951": "FR",
		"LEI 529900T8BM49AURSDO56": "DE", "EUID DEK1101R.HRB116737": "FR", "EUID FRRCS.552100555": "FR", "EUID DE": "DE", "EUID DEK1101R": "DE", "HRB 116737": "DE",
		"SIRET 73282932000075": "FR", "UID CHE100155213": "CH",
	} {
		if err := checkRegister(text, country); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q of %s: %v", text, country, err)
		}
	}
	if got := tidyRegister(" siren 552 100 554 "); got != "SIREN 552100554" {
		t.Error(got)
	}
	if got := tidy("che-100.155.212 mwst"); got != "CHE100155212MWST" {
		t.Error(got)
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add("FR40303265045", "FR")
	f.Add("LEI 529900T8BM49AURSDO55", "DE")
	f.Fuzz(func(t *testing.T, text, country string) {
		for _, err := range []error{checkVAT(tidy(text), country), checkRegister(tidyRegister(text), country)} {
			if err != nil && fault.KindOf(err) != fault.Invalid {
				t.Error(err)
			}
		}
	})
}
