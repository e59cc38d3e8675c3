# The GPU page.

gpu-adapter = Grafikkarte
gpu-adapter-best = Die beste vorhandene
gpu-adapters = Grafikkarten
gpu-backend = Schnittstelle
gpu-bench = Leistungsmessung
gpu-bench-context = Kontextlänge, Token
gpu-bench-decode = Decode über den Kontext
gpu-bench-hint = Misst das geladene Modell. Antworten warten so lange.
gpu-bench-none = Noch nichts gemessen.
gpu-bench-prefill = Prefill über die Länge
gpu-bench-prompt-tokens = Promptlänge, Token
gpu-bench-run = Messung starten
gpu-cases = Fälle
gpu-conformance = Konformitätslauf
gpu-conformance-hint = Prüft jeden Kernel gegen seine Referenz auf der CPU.
gpu-conformance-result = { $device }: { $failed } von { $n } Fällen fehlgeschlagen
gpu-conformance-run = Konformitätslauf starten
gpu-driver = Treiber
gpu-error = Abweichung
gpu-failed = Fehlgeschlagen
gpu-features = Funktionen
gpu-history = Verlauf
gpu-in-use = In Gebrauch: { $device }
gpu-kernel = Rechenkern
gpu-memory = Speicher
gpu-none = Keine Grafikkarten gefunden.
gpu-passed = Bestanden
gpu-running = Läuft seit { $seconds } s
gpu-self-test = Selbsttest
gpu-self-test-fallbacks =
    { $n ->
        [one] { $n } Kernel weicht aus
       *[other] { $n } Kernel weichen aus
    }
gpu-self-test-passed = Alle Kernel stimmen mit ihren Referenzen überein.
gpu-skipped = Übersprungen
gpu-software = Software-Adapter
gpu-speed = Geschwindigkeit, tok/s
gpu-use = Verwenden
gpu-variant = Variante
