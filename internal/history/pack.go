package history

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Minutes and hours are kept packed: a byte that says how, and then the data.
const (
	packedPlain = 0
	packedZstd  = 1
	// leastPacked is below what packing costs more than it saves.
	leastPacked = 256
	// mostUnpacked bounds what a damaged row may claim to be; an hour of a
	// thousand scopes has a tenth of it.
	mostUnpacked = 16 << 20
	packWindow   = 64 << 10
)

// packer makes the encoder when it is first used: it is half a megabyte.
type packer struct{ encoder *zstd.Encoder }

func (p *packer) pack(data []byte) ([]byte, error) {
	if len(data) < leastPacked {
		return append([]byte{packedPlain}, data...), nil
	}
	if p.encoder == nil {
		var err error
		p.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(packWindow), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return nil, fmt.Errorf("make an encoder: %w", err)
		}
	}
	return p.encoder.EncodeAll(data, []byte{packedZstd}), nil
}

// decoder is safe for concurrent use, as only DecodeAll is.
var decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(mostUnpacked))
})

// unpack is pack the other way round; nil beside an error.
func unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, errors.New("a row is empty")
	}
	switch packed[0] {
	case packedPlain:
		return packed[1:], nil
	case packedZstd:
		d, err := decoder()
		if err != nil {
			return nil, fmt.Errorf("make a decoder: %w", err)
		}
		data, err := d.DecodeAll(packed[1:], nil)
		if err != nil {
			return nil, fmt.Errorf("unpack a row: %w", err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("a row is packed in a way that is not known, %d", packed[0])
}

// UnreadableError says that some rows were left out, as they are damaged.
type UnreadableError struct {
	Rows  int
	First error
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%d rows cannot be read and were left out; the first: %v", e.Rows, e.First)
}

func (e *UnreadableError) Unwrap() error { return e.First }
