// Promcheck parses what Prometheus and Grafana are given: rule files as Prometheus does when it loads
// them, and every expression of a dashboard. It prints what is wrong, and fails if anything is.
//
//	promcheck FILE...
//
// A file that ends with .json is a dashboard, any other one holds rules.
package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// What Grafana replaces before Prometheus sees an expression.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$__range", "5m", "$__interval", "5m")

func main() {
	failed := false
	for _, file := range os.Args[1:] {
		for _, err := range check(file) {
			fmt.Println(err)
			failed = true
		}
	}
	if failed || len(os.Args) < 2 {
		os.Exit(1)
	}
}

func check(file string) []error {
	promql := parser.NewParser(parser.Options{})
	if !strings.HasSuffix(file, ".json") {
		_, errs := rulefmt.ParseFile(file, false, model.LegacyValidation, promql, slog.Default())
		return errs
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return []error{err}
	}
	var dashboard any
	if err := json.Unmarshal(text, &dashboard); err != nil {
		return []error{fmt.Errorf("%s: %w", file, err)}
	}
	found := expressions(dashboard)
	if len(found) == 0 {
		return []error{fmt.Errorf("%s: there is no expression in it", file)}
	}
	var errs []error
	for _, expression := range found {
		if _, err := promql.ParseExpr(variables.Replace(expression)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", file, expression, err))
		}
	}
	return errs
}

// All values of keys "expr", wherever they are.
func expressions(node any) []string {
	var found []string
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			found = append(found, expressions(child)...)
		}
	case map[string]any:
		for key, child := range node {
			if text, ok := child.(string); ok && key == "expr" {
				found = append(found, text)
			}
			found = append(found, expressions(child)...)
		}
	}
	return found
}
