// Verifies a log with Go's own packages for signed notes and transparency logs, golang.org/x/mod/sumdb/note and tlog,
// and nothing of ours.
//
//	verify_log VKEY proof PROOF ENTRY            an entry is in the log: its bytes, and its c2sp.org/tlog-proof@v1 file
//	verify_log VKEY growth OLDER NEWER GROWTH    the log at checkpoint OLDER is the beginning of the log at NEWER
//	verify_log VKEY log DIR                      the entries under DIR/tile/entries lead to the root of DIR/checkpoint
//
// VKEY is the file with the log's verifier key; GROWTH holds the hashes of the consistency proof, one a line in base64.
// Exit code 0 where all is right, 1 where anything is not. docs/audit.md says what this proves, and what it does not.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) < 4 {
		fail("usage: verify_log VKEY proof PROOF ENTRY | growth OLDER NEWER GROWTH | log DIR")
	}
	key, err := note.NewVerifier(strings.TrimSpace(string(read(os.Args[1]))))
	check("verifier key", err)
	switch args := os.Args[3:]; {
	case os.Args[2] == "proof" && len(args) == 2:
		proof(key, read(args[0]), read(args[1]))
	case os.Args[2] == "growth" && len(args) == 3:
		growth(key, read(args[0]), read(args[1]), string(read(args[2])))
	case os.Args[2] == "log" && len(args) == 1:
		log(key, args[0])
	default:
		fail("unknown command or number of arguments")
	}
}

// The checkpoint in a signed note: signature first, then origin, size and root.
func checkpoint(key note.Verifier, signed []byte) tlog.Tree {
	opened, err := note.Open(signed, note.VerifierList(key))
	check("checkpoint", err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != key.Name() {
		fail("checkpoint: not of the log " + key.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check("checkpoint: size", err)
	return tlog.Tree{N: size, Hash: hash(lines[2])}
}

func proof(key note.Verifier, file, entry []byte) {
	head, signed, found := strings.Cut(string(file), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" {
		fail("not a proof file of version 1")
	}
	if strings.HasPrefix(lines[1], "extra ") {
		lines = lines[1:]
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	check("index", err)
	tree := checkpoint(key, []byte(signed))
	check("inclusion", tlog.CheckRecord(hashes(lines[2:]), tree.N, tree.Hash, index, tlog.RecordHash(entry)))
	fmt.Printf("entry %d of %d: verified\n", index, tree.N)
}

func growth(key note.Verifier, older, newer []byte, file string) {
	before, after := checkpoint(key, older), checkpoint(key, newer)
	lines := strings.Fields(file)
	check("consistency", tlog.CheckTree(hashes(lines), after.N, after.Hash, before.N, before.Hash))
	fmt.Printf("growth from %d to %d entries: verified\n", before.N, after.N)
}

// The stored hashes of a tree, as tlog numbers them.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(s)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		hashes[i] = s[index]
	}
	return hashes, nil
}

func log(key note.Verifier, dir string) {
	tree := checkpoint(key, read(filepath.Join(dir, "checkpoint")))
	var hashes stored
	for first := int64(0); first < tree.N; first += 256 {
		path := fmt.Sprintf("%03d", first/256%1000)
		for above := first / 256 / 1000; above > 0; above /= 1000 {
			path = fmt.Sprintf("x%03d/%s", above%1000, path)
		}
		width := tree.N - first
		if width < 256 {
			path = fmt.Sprintf("%s.p/%d", path, width)
		} else {
			width = 256
		}
		bundle := read(filepath.Join(dir, "tile/entries", path))
		for i := first; i < first+width; i++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				fail(path + ": the bundle ends too early")
			}
			end := 2 + int(binary.BigEndian.Uint16(bundle))
			more, err := tlog.StoredHashesForRecordHash(i, tlog.RecordHash(bundle[2:end]), hashes)
			check("hashes", err)
			hashes, bundle = append(hashes, more...), bundle[end:]
		}
		if len(bundle) != 0 {
			fail(path + ": bytes follow the last entry")
		}
	}
	root, err := tlog.TreeHash(tree.N, hashes)
	check("root", err)
	if root != tree.Hash {
		fail("the entries do not lead to the checkpoint's root")
	}
	fmt.Printf("log of %d entries: verified\n", tree.N)
}

func hashes(lines []string) []tlog.Hash {
	var all []tlog.Hash
	for _, line := range lines {
		all = append(all, hash(line))
	}
	return all
}

func hash(line string) (hash tlog.Hash) {
	bytes, err := base64.StdEncoding.DecodeString(line)
	if err != nil || copy(hash[:], bytes) != len(hash) || len(bytes) != len(hash) {
		fail("not a hash: " + line)
	}
	return hash
}

func read(path string) []byte {
	bytes, err := os.ReadFile(path)
	check("read", err)
	return bytes
}

func check(what string, err error) {
	if err != nil {
		fail(what + ": " + err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
