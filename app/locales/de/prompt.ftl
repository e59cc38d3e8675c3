# The prompt panel.

prompt-copy-all = Alles kopieren
prompt-dropped =
    { $n ->
        [one] { $n } ältere Nachricht weggelassen ({ $budget } aus Platzgründen, { $depth } wegen der Verlaufsgrenze, { $slot } wegen der Vorlage)
       *[other] { $n } ältere Nachrichten weggelassen ({ $budget } aus Platzgründen, { $depth } wegen der Verlaufsgrenze, { $slot } wegen der Vorlage)
    }
prompt-history-depth = Länge des Verlaufs
prompt-history-limit = Verlauf begrenzen
prompt-keyword-forbidden = FORBIDDEN: Das Modell verweigert die Antwort und nennt einen Grund.
prompt-keyword-no-idea = NO IDEA: Das Modell sagt, dass ihm das Wissen fehlt, und verweist anderswohin.
prompt-keyword-sfw = SFW: Das Modell verweigert, was ein Inhaltsfilter ablehnen würde.
prompt-keywords = Schlüsselwörter
prompt-knowledge = System-Wissen
prompt-knowledge-hint = Was das Modell wissen oder sein soll: Fakten, eine Rolle, Regeln.
prompt-language = Sprache der Wörter im Prompt
prompt-language-hint = Die wenigen Wörter, die von selbst hinzukommen, etwa „Quelle“.
prompt-neutralised = „{ $marker }“ entschärft – { $place }
prompt-neutralised-hint = Text, der wie eine Markierung des Prompts aussieht, wurde als Zitat gekennzeichnet, damit er seinen Abschnitt nicht beendet.
prompt-no-model = Laden Sie ein Modell, um den Prompt mit seinen Token zu sehen.
prompt-panel = Den Prompt zeigen oder verbergen
prompt-place-character = Figur
prompt-place-knowledge = System-Wissen
prompt-place-message = Nachricht { $n }
prompt-place-source = Quelle { $n }
prompt-preset = Vorlage
prompt-preset-auto = automatisch ({ $preset })
prompt-preset-auto-hint = Ein Modell mit eigener Chat-Vorlage bekommt diese, jedes andere das Format von Guanaco.
prompt-section-frame = Rahmen
prompt-section-history = Verlauf
prompt-section-input = Eingabe
prompt-section-reply = Antwort
prompt-section-system = System-Block
prompt-section-template = Chat-Vorlage
prompt-source-add = Quelle hinzufügen
prompt-source-delete = Die Quelle „{ $title }“ löschen
prompt-source-file = Aus Dateien hinzufügen …
prompt-source-link = Webadresse
prompt-source-link-open = Den Link im Browser öffnen
prompt-source-on = „{ $title }“ verwenden
prompt-source-text = Quelltext
prompt-source-title = Titel
prompt-source-untitled = Quelle { $n }
prompt-sources = Quellen
prompt-sources-hint = Text einfügen, oder Text- und Markdown-Dateien auf das Fenster ziehen.
prompt-system-title = Wissen
prompt-title = Prompt
prompt-tokens = { $n } Token
prompt-tokens-of = { $n } von { $context } Token
