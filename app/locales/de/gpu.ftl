# The GPU page.

gpu-adapter-best = Die beste vorhandene
gpu-adapters = Grafikkarten
gpu-bench = Leistungsmessung
gpu-bench-context = Kontextlänge, Token
gpu-bench-decode = Decode über den Kontext
gpu-bench-hint = Misst das geladene Modell. Antworten warten so lange.
gpu-bench-prefill = Prefill über die Länge
gpu-bench-prompt-tokens = Promptlänge, Token
gpu-cases = Fälle
gpu-conformance = Konformitätslauf
gpu-conformance-hint = Prüft jeden Kernel gegen seine Referenz auf der CPU.
gpu-conformance-result = { $device }: { $failed } von { $n } Fällen fehlgeschlagen
gpu-error = Abweichung
gpu-failed = Fehlgeschlagen
gpu-in-use = In Gebrauch: { $device }
gpu-kernel = Rechenkern
gpu-running = Läuft seit { $seconds } s
gpu-self-test-passed = Alle Kernel stimmen mit ihren Referenzen überein.
gpu-variant = Variante
