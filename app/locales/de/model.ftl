# The model page, and the line on the model above every page.

model-choose-file = Datei wählen …
model-choose-folder = Ordner wählen …
model-choose-lora = Ordner eines LoRA wählen …
model-context = Kontext
model-context-hint = Token von Prompt und Antwort zusammen. Je mehr, desto mehr Speicher braucht der Cache.
model-details = Alles, was die Dateien sagen
model-device-lost = Das Grafikgerät ging verloren und wurde neu eingerichtet; der Chat ist unversehrt. ({ $reason })
model-drop-hint = Modellordner oder GGUF-Datei hier ablegen
model-embedded = Eingebautes winziges Modell
model-fallbacks =
    { $n ->
        [one] { $n } Kernel läuft in der portablen Fassung
       *[other] { $n } Kernel laufen in der portablen Fassung
    }
model-format = Dateiformat
model-hub-cache = Hugging-Face-Cache
model-kv-int8 = Cache mit 8 Bit speichern
model-kv-int8-hint = Halbiert den Speicher des Caches, mit etwas weniger Genauigkeit.
model-layers = Schichten
model-load = Laden
model-loading = { $name } wird geladen
model-lora-add = LoRA hinzufügen
model-lora-folder = Ordner einer LoRA
model-lora-weight = Gewicht
model-loras = LoRA
model-loras-hint = Kleine Nachschulungen, die über das Modell gelegt werden, jede mit eigenem Gewicht.
model-memory = Speicherplan: { $total }
model-memory-bar = Speicher, den das Modell belegt
model-memory-cache = KV-Cache
model-memory-free = { $free } frei
model-memory-scratch = Arbeitsspeicher
model-memory-staging = Beim Laden
model-memory-too-little = Das passt nicht. Wählen Sie einen kleineren Kontext, einen 8-Bit-Cache oder ein kleineres Modell.
model-memory-weights = Gewichte
model-name = Modell
model-no-tokenizer = Neben diesen Gewichten liegt kein Tokenizer: Legen Sie die tokenizer.json des Modells in denselben Ordner.
model-none = Kein Modell geladen
model-not-loaded = Guanaco wurde beendet, während { $name } geladen wurde, und lädt es deshalb nicht von selbst noch einmal. „Laden“ versucht es erneut; oder wählen Sie hier ein anderes Modell oder auf der GPU-Seite eine andere Grafikkarte.
model-parameters = Parameter
model-path = Ordner oder GGUF-Datei
model-path-hint = Wo sie liegt – oder auf das Fenster ziehen
model-reading = { $name } wird gelesen
model-ready = { $name } auf { $device }
model-rope-files = Wie in den Dateien des Modells
model-rope-scaling = RoPE-Skalierung
model-rope-scaling-hint = Dehnt die Positionen, für Kontexte, die länger sind als beim Training.
model-software = Software-Rendering: Ohne GPU ist es langsam
model-trained-context = Kontext beim Training
model-vocabulary = Vokabular
