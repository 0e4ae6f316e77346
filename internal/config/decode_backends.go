package config

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

const backendsExample = "{name: shop, process: {unit: haproxy.service}}"

// decodeBackends fills v, a part of the backends section, and reports whether
// it is one.
func decodeBackends(p *problems, path string, n ast.Node, at position, v reflect.Value) bool {
	switch dst := v.Addr().Interface().(type) {
	case *[]rawBackends:
		decodeOptionalList(p, path, n, at, "- "+backendsExample, v)
	case *rawBackends:
		dst.At = at
		if !decodeMapping(p, path, n, at, backendsExample, v) {
			dst.Name.Given = true
			noteBackends(reflect.ValueOf(&dst.Process).Elem())
		}
	case *rawProcess:
		dst.At = at
		if !decodeMapping(p, path, n, at, "{unit: haproxy.service}", v) {
			noteBackends(v)
		}
	case *rawDiscover:
		if empty(n) {
			break // all of it commented out: none
		}
		dst.At = at
		if !decodeMapping(p, path, n, at, "{haproxy: {socket: /run/haproxy/admin.sock}}", v) {
			noteBackends(v)
		}
	case *rawHAProxy:
		dst.At = at
		if !decodeMapping(p, path, n, at, "{socket: /run/haproxy/admin.sock}", v) {
			noteBackends(v)
		}
	case *rawTraefik:
		dst.At = at
		if !decodeMapping(p, path, n, at, `{api: "http://127.0.0.1:8080"}`, v) {
			noteBackends(v)
		}
	case *[]rawTarget:
		if _, ok := n.(*ast.SequenceNode); !ok {
			noteBackends(v)
		}
		decodeList(p, path, n, at, `["shop.internal:8080"]`, v)
	case *[]rawMember:
		if _, ok := n.(*ast.SequenceNode); !ok {
			noteBackends(v)
		}
		decodeList(p, path, n, at, `["192.0.2.10:8080"]`, v)
	case *rawMember:
		dst.At = at
		if _, ok := mapping(n); ok {
			decodeMapping(p, path, n, at, "", v)
		} else {
			decodeLeaf(p, path, n, at, dst.Address, reflect.ValueOf(&dst.Address).Elem())
		}
	default:
		return false
	}
	return true
}

// noteBackends is noteGiven for the parts of the backends section: something
// is there, though no good.
func noteBackends(v reflect.Value) {
	given := position{1, 1}
	switch dst := v.Addr().Interface().(type) {
	case *rawProcess:
		dst.At, dst.Name.Given = given, true
	case *rawDiscover:
		dst.At, dst.HAProxy.At, dst.HAProxy.Socket.Given = given, given, true
	case *rawHAProxy:
		dst.At, dst.Socket.Given = given, true
	case *rawTraefik:
		dst.At, dst.API.Given = given, true
	case *[]rawTarget:
		*dst = append(*dst, rawTarget{At: given, Given: true})
	case *[]rawMember:
		*dst = append(*dst, rawMember{At: given, Address: rawRemote{At: given, Given: true}})
	case *rawAbsolute:
		dst.Given = true
	case *rawUnit:
		dst.Given = true
	case *rawRemote:
		dst.Given = true
	case *rawListen:
		dst.Given = true
	}
}
