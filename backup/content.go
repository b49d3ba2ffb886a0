package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"github.com/kontor-cloud/kontor/db"
)

// content sums up what rows say, however a database puts it: in whatever order
// they are read, and with JSON documents written in whatever way, as PostgreSQL
// sorts their members and SQLite keeps them as they came. So a table has the
// same content after a move to the other kind of database and back.
//
// Each row's SHA-256 is a number, and the sum of these, modulo 2^256, does not
// depend on their order. That tells an accident from a copy, and no forger from
// an author: against damage the file has its own digests.
type content struct {
	table db.Table
	sum   big.Int
	line  bytes.Buffer
}

// add counts a row, which it may change; line is how it stands in the file.
func (c *content) add(row []any, line []byte) error {
	for i, column := range c.table.Columns {
		s, ok := row[i].(string)
		if !ok || column.Type != db.JSONDoc {
			continue
		}
		plain, err := canonical(s)
		if err != nil {
			return fmt.Errorf("column %s of table %s: %w", column.Name, c.table.Name, err)
		}
		row[i], line = plain, nil
	}
	if line == nil {
		if err := encode(&c.line, row); err != nil {
			return err
		}
		line = c.line.Bytes()
	}
	one := sha256.Sum256(bytes.TrimSuffix(line, []byte("\n")))
	c.sum.Add(&c.sum, new(big.Int).SetBytes(one[:]))
	return nil
}

var modulus = new(big.Int).Lsh(big.NewInt(1), 256)

func (c *content) digest() string {
	var b [sha256.Size]byte
	new(big.Int).Mod(&c.sum, modulus).FillBytes(b[:])
	return hex.EncodeToString(b[:])
}

// canonical writes a JSON document in one way: members by name, no spaces, each
// number as its digits and their power of ten.
func canonical(text string) (string, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	b, err := json.Marshal(plainNumbers(v))
	return string(b), err
}

func plainNumbers(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k := range x {
			x[k] = plainNumbers(x[k])
		}
	case []any:
		for i := range x {
			x[i] = plainNumbers(x[i])
		}
	case json.Number:
		return plainNumber(string(x))
	}
	return v
}

// plainNumber makes 100, 1e2 and 100.0 the same. It is a string, which a
// document that has the string in its place is not worth being told from.
func plainNumber(s string) string {
	s, minus := strings.CutPrefix(s, "-")
	digits, power, _ := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(digits, ".")
	exponent, _ := new(big.Int).SetString("0"+strings.TrimPrefix(power, "+"), 10)
	if strings.HasPrefix(power, "-") {
		exponent, _ = new(big.Int).SetString(power, 10)
	}
	exponent.Sub(exponent, big.NewInt(int64(len(fraction))))
	digits = strings.TrimLeft(whole+fraction, "0")
	short := strings.TrimRight(digits, "0")
	if short == "" {
		return "0"
	}
	exponent.Add(exponent, big.NewInt(int64(len(digits)-len(short))))
	if minus {
		short = "-" + short
	}
	return short + "e" + exponent.String()
}
