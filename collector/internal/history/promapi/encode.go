package promapi

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// encode writes an answer as Prometheus does. Results of queries are written by hand:
// a graph has thousands of points, and encoding/json makes three allocations of each.
func encode(ans answer) ([]byte, error) {
	buf := []byte(`{"status":"success","data":`)
	var err error
	if data, ok := ans.data.(queryData); ok {
		buf, err = appendQueryData(buf, data)
	} else {
		buf, err = appendJSON(buf, ans.data)
	}
	if err != nil {
		return nil, err
	}
	warnings, infos := ans.warnings.AsStrings(ans.query, 10, 10)
	if buf, err = appendList(buf, "warnings", warnings); err != nil {
		return nil, err
	}
	if buf, err = appendList(buf, "infos", infos); err != nil {
		return nil, err
	}
	return append(buf, '}'), nil
}

func appendJSON(buf []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding an answer: %w", err)
	}
	return append(buf, text...), nil
}

func appendList(buf []byte, name string, list []string) ([]byte, error) {
	if len(list) == 0 {
		return buf, nil
	}
	buf = append(buf, `,"`+name+`":`...)
	return appendJSON(buf, list)
}

func appendQueryData(buf []byte, d queryData) (_ []byte, err error) {
	buf = append(buf, `{"resultType":"`+string(d.value.Type())+`","result":`...)
	switch v := d.value.(type) {
	case promql.Vector:
		buf, err = appendEach(buf, v, appendSample)
	case promql.Matrix:
		buf, err = appendEach(buf, v, appendSeries)
	case promql.Scalar:
		buf = appendPoint(buf, v.T, v.V)
	case promql.String:
		buf = append(appendTime(append(buf, '['), v.T), ',')
		if buf, err = appendJSON(buf, v.V); err == nil {
			buf = append(buf, ']')
		}
	default:
		err = fmt.Errorf("a query gave a %s", d.value.Type())
	}
	if err != nil {
		return nil, err
	}
	if d.stats != nil {
		buf = append(buf, `,"stats":`...)
		if buf, err = appendJSON(buf, d.stats); err != nil {
			return nil, err
		}
	}
	return append(buf, '}'), nil
}

func appendEach[T any](buf []byte, all []T, one func([]byte, *T) ([]byte, error)) (_ []byte, err error) {
	buf = append(buf, '[')
	for i := range all {
		if i > 0 {
			buf = append(buf, ',')
		}
		if buf, err = one(buf, &all[i]); err != nil {
			return nil, err
		}
	}
	return append(buf, ']'), nil
}

func appendSample(buf []byte, s *promql.Sample) ([]byte, error) {
	if s.H != nil {
		return appendJSON(buf, s)
	}
	buf, err := appendLabels(append(buf, `{"metric":`...), s.Metric)
	if err != nil {
		return nil, err
	}
	buf = appendPoint(append(buf, `,"value":`...), s.T, s.F)
	return append(buf, '}'), nil
}

func appendSeries(buf []byte, s *promql.Series) ([]byte, error) {
	buf, err := appendLabels(append(buf, `{"metric":`...), s.Metric)
	if err != nil {
		return nil, err
	}
	if len(s.Floats) > 0 {
		buf = append(buf, `,"values":`...)
		buf, err = appendEach(buf, s.Floats, func(b []byte, p *promql.FPoint) ([]byte, error) {
			return appendPoint(b, p.T, p.F), nil
		})
	}
	if len(s.Histograms) > 0 && err == nil {
		buf, err = appendJSON(append(buf, `,"histograms":`...), s.Histograms)
	}
	return append(buf, '}'), err
}

func appendLabels(buf []byte, l labels.Labels) ([]byte, error) {
	buf = append(buf, '{')
	first := true
	err := l.Validate(func(l labels.Label) (err error) {
		if !first {
			buf = append(buf, ',')
		}
		first = false
		if buf, err = appendJSON(buf, l.Name); err != nil {
			return err
		}
		buf, err = appendJSON(append(buf, ':'), l.Value)
		return err
	})
	return append(buf, '}'), err
}

func appendPoint(buf []byte, t int64, v float64) []byte {
	buf = append(appendTime(append(buf, '['), t), `,"`...)
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return append(strconv.AppendFloat(buf, v, format, -1, 64), `"]`...)
}

// appendTime writes milliseconds as seconds.
func appendTime(buf []byte, t int64) []byte {
	if t < 0 {
		buf, t = append(buf, '-'), -t
	}
	buf = strconv.AppendInt(buf, t/1000, 10)
	if ms := t % 1000; ms != 0 {
		buf = append(buf, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return buf
}
