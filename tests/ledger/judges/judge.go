// Judge an exported log with the code of Go's checksum database, which knows nothing of ours.
//
//	judge log DIR LOG-KEY ENTRY-KEY|- [EARLIER-CHECKPOINT...]
//	judge proofs FILE.json
//
// Prints one JSON object and exits 0, or says what is wrong and exits 1.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func must(err error, about ...interface{}) {
	if err != nil {
		fmt.Fprintln(os.Stderr, append(about, err)...)
		os.Exit(1)
	}
}

func require(ok bool, about ...interface{}) {
	if !ok {
		fmt.Fprintln(os.Stderr, about...)
		os.Exit(1)
	}
}

// folder reads tiles from our paths, which lack the height that Go's have.
type folder string

func (f folder) Height() int                         { return height }
func (f folder) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f folder) ReadTiles(tiles []tlog.Tile) (out [][]byte, err error) {
	for _, t := range tiles {
		path := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		if len(data) != t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		out = append(out, data)
	}
	return out, nil
}

func verifier(vkey string) note.Verifiers {
	v, err := note.NewVerifier(vkey)
	must(err, "key")
	return note.VerifierList(v)
}

func open(path string, keys note.Verifiers) (tlog.Tree, int) {
	data, err := os.ReadFile(path)
	must(err)
	opened, err := note.Open(data, keys)
	must(err, path)
	lines := strings.Split(opened.Text, "\n")
	require(len(lines) == 4 && lines[3] == "", path, "is not three lines")
	require(lines[0] == opened.Sigs[0].Name, path, "is signed by", opened.Sigs[0].Name)
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := base64.StdEncoding.DecodeString(lines[2])
	must(err)
	tree := tlog.Tree{N: size}
	require(copy(tree.Hash[:], root) == tlog.HashSize, path, "has a root of another length")
	return tree, len(opened.UnverifiedSigs)
}

func entries(dir string, tile int64, width int) [][]byte {
	path := strings.Replace(tlog.Tile{H: height, L: -1, N: tile, W: width}.Path(), "tile/8/data/", "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(dir, path))
	must(err)
	var out [][]byte
	for len(data) > 0 {
		require(len(data) >= 2, path, "is cut short")
		n := int(binary.BigEndian.Uint16(data))
		require(len(data) >= 2+n, path, "is cut short")
		out, data = append(out, data[2:2+n]), data[2+n:]
	}
	require(len(out) == width, path, "has", len(out), "entries")
	return out
}

func judgeLog(dir, logKey, entryKey string, earlier []string) map[string]int64 {
	keys := verifier(logKey)
	tree, others := open(filepath.Join(dir, "checkpoint"), keys)
	reader := tlog.TileHashReader(tree, folder(dir))
	root, err := tlog.TreeHash(tree.N, reader)
	must(err, "root")
	require(root == tree.Hash, "the tiles do not lead to the signed root")
	found := map[string]int64{"size": tree.N, "other_lines": int64(others)}
	var stored []tlog.Hash // the whole tree once more, from the entries: a TileHashReader of x/mod 0.7
	rebuilt := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes { // leaves a tile unchecked when others share their subtrees
			out = append(out, stored[i])
		}
		return out, nil
	})
	for first := int64(0); first < tree.N; first += 256 {
		width := 256
		if tree.N-first < 256 {
			width = int(tree.N - first)
		}
		var indexes []int64
		for i := 0; i < width; i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, first+int64(i)))
		}
		hashes, err := reader.ReadHashes(indexes)
		must(err, "tile", first/256)
		for i, entry := range entries(dir, first/256, width) {
			require(tlog.RecordHash(entry) == hashes[i], "entry", first+int64(i), "is not under its hash")
			if entryKey != "-" {
				_, err := note.Open(entry, verifier(entryKey))
				must(err, "entry", first+int64(i))
				found["signatures"]++
			}
			more, err := tlog.StoredHashes(first+int64(i), entry, rebuilt)
			must(err, "entry", first+int64(i))
			stored = append(stored, more...)
			found["entries"]++
		}
		index := first + int64(width)/2
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		must(err)
		must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, hashes[index-first]), "record", index)
		found["inclusion"]++
	}
	root, err = tlog.TreeHash(tree.N, rebuilt)
	must(err, "root")
	require(root == tree.Hash, "the entries do not lead to the signed root")
	for _, path := range earlier {
		old, _ := open(path, keys)
		proof, err := tlog.ProveTree(tree.N, old.N, reader)
		must(err, path)
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash), path)
		found["consistency"]++
	}
	return found
}

func judgeProofs(path string) (verdicts []bool) {
	data, err := os.ReadFile(path)
	must(err)
	var asked []struct {
		Kind            string
		Old, New, Index int64
		Leaf, From, To  tlog.Hash
		Proof           []tlog.Hash
	}
	must(json.Unmarshal(data, &asked))
	for _, a := range asked {
		if a.Kind == "inclusion" {
			err = tlog.CheckRecord(a.Proof, a.New, a.To, a.Index, a.Leaf)
		} else {
			err = tlog.CheckTree(a.Proof, a.New, a.To, a.Old, a.From)
		}
		verdicts = append(verdicts, err == nil)
	}
	return verdicts
}

func main() {
	var found interface{}
	if os.Args[1] == "log" {
		found = judgeLog(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	} else {
		found = judgeProofs(os.Args[2])
	}
	must(json.NewEncoder(os.Stdout).Encode(found))
}
