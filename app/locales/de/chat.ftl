# The chat: messages, the field to type in, the list of chats.

chat-answer = Diese Nachricht beantworten
chat-assistant = Assistent
chat-branch = Von hier in einen neuen Chat abzweigen
chat-cached = { $cached } zwischengespeichert, { $new } neu
chat-characters-gone =
    { $n ->
        [one] Eine Figur dieses Chats ist nicht mehr in der Bibliothek und spricht nicht mehr mit.
       *[other] { $n } Figuren dieses Chats sind nicht mehr in der Bibliothek und sprechen nicht mehr mit.
    }
chat-continue = Diese Antwort fortsetzen
chat-cut-context = Beendet, weil der Kontext voll ist
chat-cut-limit = An der Grenze neuer Token beendet
chat-delete = Diese Nachricht und alles danach löschen
chat-delete-chat = Chat löschen
chat-delete-question = „{ $title }“ endgültig löschen?
chat-dropped =
    { $n ->
        [one] { $n } Nachricht weggelassen
       *[other] { $n } Nachrichten weggelassen
    }
chat-dropped-budget = kein Platz: { $words } …
chat-dropped-depth = jenseits der Tiefe des Verlaufs: { $words } …
chat-dropped-no-slot = das Format hat keinen Platz dafür: { $words } …
chat-edit = Nachricht bearbeiten
chat-edit-done = Übernehmen
chat-embedded-hint = Dies ist das winzige eingebaute Modell zum Ausprobieren. Ein vollwertiges lässt sich unter „Modelle“ wählen.
chat-empty-hint = Unten schreiben; Enter sendet, Umschalt+Enter beginnt eine neue Zeile.
chat-empty-title = Worüber möchten Sie sprechen?
chat-export-json = Alles als JSON exportieren
chat-export-md = Als Markdown exportieren
chat-export-text = Als Text exportieren
chat-first-token = erstes Token nach { $seconds } s
chat-hidden = Nicht Teil des Prompts
chat-hint = Nachricht schreiben
chat-import = Chat importieren
chat-incomplete = Diese Antwort wurde unterbrochen; sie lässt sich fortsetzen.
chat-keyword-forbidden = FORBIDDEN war an: Das Modell kann die Antwort ablehnen.
chat-keyword-no-idea = NO IDEA war an: Das Modell kann sagen, dass ihm das Wissen fehlt.
chat-keyword-sfw = SFW war an: Das Modell kann ablehnen, was ein Inhaltsfilter zurückweist.
chat-list-filter = Chats filtern
chat-menu-of = Menü von „{ $title }“
chat-message = Nachricht
chat-new = Neuer Chat
chat-next = Nächste Antwort
chat-no-model = Es ist kein Modell geladen, das antworten könnte: Lade eines auf der Seite „Modelle“.
chat-newest = Neueste
chat-no-source = Keine Quelle angegeben: Angaben in dieser Antwort können falsch sein.
chat-nothing-said = Das Modell beendete seine Antwort vor dem ersten Wort. Versuche es noch einmal oder ändere die Frage.
chat-previous = Vorherige Antwort
chat-reading = Prompt wird gelesen: { $done } von { $new }, { $cached } zwischengespeichert
chat-regenerate = Neu antworten
chat-rename = Umbenennen
chat-saved = Gespeichert
chat-saving = Wird gespeichert …
chat-search = Diesen Chat durchsuchen
chat-search-count = { $at } von { $n }
chat-search-next = Nächster Treffer
chat-search-open = In diesem Chat suchen
chat-search-previous = Vorheriger Treffer
chat-seed = Startwert { $seed }
chat-send = Senden
chat-speed = { $speed } tok/s
chat-stop = Stopp
chat-stopped = Von Ihnen gestoppt
chat-token-branch = Stattdessen mit diesem Token weitermachen
chat-token-chance = Wahrscheinlichkeit: { $percent }
chat-token-name = Token „{ $text }“, { $percent }
chat-tokens = Token ansehen
chat-tokens-hint = Je kräftiger die Farbe, desto unwahrscheinlicher war das Token. Ein Klick zeigt die Alternativen.
chat-tokens-none = Zu dieser Antwort wurden keine Token-Daten aufbewahrt.
chat-writing = { $n } Token, { $speed } tok/s
chat-you = Sie
