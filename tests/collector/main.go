// The OpenTelemetry collector's own OTLP receiver and file exporter, and nothing else of it: what the tests send their
// telemetry to. A whole collector takes minutes to build.
//
//	collector 127.0.0.1:4318 traces.json metrics.json
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	metrics "go.opentelemetry.io/otel/metric/noop"
	traces "go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/zap"
)

type host struct{}

func (host) GetExtensions() map[component.ID]component.Component { return nil }

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func configured(config component.Config, given map[string]any) component.Config {
	if err := confmap.NewFromStringMap(given).Unmarshal(config); err != nil {
		log.Fatal(err)
	}
	return config
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	telemetry := component.TelemetrySettings{
		Logger:         must(zap.NewProduction()),
		TracerProvider: traces.NewTracerProvider(),
		MeterProvider:  metrics.NewMeterProvider(),
	}
	files, otlp := fileexporter.NewFactory(), otlpreceiver.NewFactory()
	into := func(name, path string) (exporter.Settings, component.Config) {
		settings := exporter.Settings{ID: component.NewIDWithName(files.Type(), name), TelemetrySettings: telemetry}
		return settings, configured(files.CreateDefaultConfig(), map[string]any{"path": path, "flush_interval": "100ms"})
	}
	spanSettings, spanConfig := into("traces", os.Args[2])
	pointSettings, pointConfig := into("metrics", os.Args[3])
	spans := must(files.CreateTraces(ctx, spanSettings, spanConfig))
	points := must(files.CreateMetrics(ctx, pointSettings, pointConfig))
	from := receiver.Settings{ID: component.NewID(otlp.Type()), TelemetrySettings: telemetry}
	listen := configured(otlp.CreateDefaultConfig(), map[string]any{
		"protocols": map[string]any{"http": map[string]any{"endpoint": os.Args[1]}},
	})
	parts := []component.Component{
		spans, points, must(otlp.CreateTraces(ctx, from, listen, spans)), must(otlp.CreateMetrics(ctx, from, listen, points)),
	}
	for _, part := range parts {
		if err := part.Start(ctx, host{}); err != nil {
			log.Fatal(err)
		}
	}
	<-ctx.Done()
	for i := len(parts) - 1; i >= 0; i-- {
		if err := parts[i].Shutdown(context.Background()); err != nil {
			log.Print(err)
		}
	}
}
