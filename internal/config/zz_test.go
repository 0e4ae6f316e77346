package config
import ("testing";"fmt"; y4 "go.yaml.in/yaml/v4")
func TestZZ(t *testing.T){
 for _, s := range []string{
 "name: web03 listen: x", "name: \"a\" b", "labels: {a: b, }", "services: [{name: a, listen: [\":80\" \":81\"]}]", "name: a\n}\n", "name: 'a'\n  listen: x", "name: 'a", "name: a\n b: c", "name: a\n  b\n", "labels:\n  a: b\n c: d\n", "labels:\n    a: b\n  c: d\n", "name:a", "name :a", "name : a", "name: a # c", "name: a#c", "labels: {a: b}\n{c: d}\n", "labels: {a: b} c", "name: a\n- b\n", "name: a\n---", "- name: a\nname: b", "services:\n- name: a\n  listen:\n  - :80\n", "services:\n - name: a\n   listen: [\":80\"]\n - name: b\n  listen: [\":81\"]", "labels: {a: b\n}", "labels: {\na: b,\nc: d\n}", "labels: [a: b]", "name: |\n  a", "name: >-\n  a\n  b", "name: |2-\n   a", "name:\n  web", "name:\n- web", "name\n: a", "\"name\": a", "'name': a", "name: \"a\\\n  b\"", "name: a\n...\n...\n", "--- name: a", "--- {name: a}", "name: a: b", "labels: {a:b}", "labels: {\"a\":b}", "labels: {a: b,, c: d}", "labels: {, a: b}", "name: [", "name: ]", "name: }", "name: ,a", "name: - a", "name: ? a", "name: -a", "name: `a", "name: %a", "name: a\\b", "name: \"\\/\"", "name: \"\\z\"", "labels:\n  a: b\n  \n# x\n  c: d", "listen: 127.0.0.1:9748\t# c", "name: a\tb", "name:\ta", "labels:\n  a:\tb", "labels: {a: b}}", "labels:\n  - a: b", "observe:\ncpu_budget: 1%", "observe:\n  cpu_budget:\n    1%","observe: {cpu_budget: 1%}, name: a", "name: \"a\"\"b\"", "name: 'a' 'b'", "name: a\rlabels: {b: c}\r",
 }{
  c, err := Parse("f", []byte(s+"\n"))
  var v any
  err4 := y4.Unmarshal([]byte(s+"\n"), &v)
  m := ""
  if (err==nil) != (err4==nil) { m = "   <<<<" }
  if err==nil { fmt.Printf("%q -> OK %+v | %v %v%s\n", s, c, v, err4, m) } else if err4==nil { fmt.Printf("%q -> %v | %v%s\n", s, err, v, m) }
 }
}

func FuzzDiff(f *testing.F){
	f.Add([]byte(Reference()))
	f.Add([]byte(uncommented()))
 f.Fuzz(func(t *testing.T, d []byte){
  c, err := Parse("f", d)
  if err != nil { return }
  var v struct{ Name string; Labels map[string]string; Token map[string]string; Listen string; Services []struct{Name string; Listen []string}}
  if err4 := y4.Unmarshal(d, &v); err4 != nil { return }
  if v.Name != c.Name || len(v.Labels) != len(c.Labels) || v.Token["file"] != c.Token.File || v.Token["env"] != c.Token.Env || len(v.Services) != len(c.Services) { t.Fatalf("%q accepted as %+v; %+v", d, c, v) }
  for k, x := range v.Labels { if c.Labels[k] != x { t.Fatalf("%q accepted as %+v; %+v", d, c, v) } }
  for i, x := range v.Services { if c.Services[i].Name != x.Name || len(c.Services[i].Listen) != len(x.Listen) { t.Fatalf("%q accepted as %+v; %+v", d, c, v) } }
 })
}
