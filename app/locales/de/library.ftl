# The library of characters.

library-active-because = Aktiv: „{ $key }“ kam vor
library-active-constant = Aktiv: immer eingeschaltet
library-active-decorator = Aktiv: vom Eintrag selbst bestimmt
library-active-dropped = Weggelassen: Das Budget des Lorebooks ist aufgebraucht
library-active-none = Keine Einträge sind aktiv.
library-active-recursive = Aktiv: in einem anderen Eintrag erwähnt
library-add-to-chat = In den Chat aufnehmen
library-characters = Figuren
library-choose = Karten wählen …
library-create = Neue Figur
library-create-entry = Aus einem Lexikoneintrag
library-create-entry-hint = Über die Figur geschrieben, wie in einem Lexikon.
library-create-narration = Aus einer Erzählung
library-create-narration-hint = Von der Figur selbst erzählt, in der Ichform.
library-create-traits = Aus Eigenschaften
library-create-traits-hint = Eine Eigenschaft je Zeile, etwa „Alter: 23“.
library-creator = Autorin oder Autor
library-creator-notes = Hinweise von der Autorin oder dem Autor
library-delete-question = Die Figur „{ $name }“ endgültig löschen?
library-description = Beschreibung
library-drop-hint = Charakterkarten hier ablegen: PNG, JSON oder CHARX
library-empty = Noch keine Figuren. Erstellen Sie eine, oder legen Sie eine Karte hier ab.
library-entry-add = Eintrag hinzufügen
library-entry-after = Nach der Figur
library-entry-before = Vor der Figur
library-entry-case = Groß- und Kleinschreibung zählt
library-entry-case-hint = Schlüssel müssen geschrieben sein wie im Chat. Muster als /Muster/Schalter sagen es selbst.
library-entry-comment = Kommentar
library-entry-constant = Immer aktiv
library-entry-constant-hint = Er ist ohne Schlüssel dabei.
library-entry-content = Inhalt
library-entry-decorated = Eine Zeile am Anfang des Inhalts entscheidet
library-entry-decorators = Was in den Prompt kommt. Zeilen am Anfang können mehr sagen; bekannt sind:
library-entry-down = „{ $name }“ nach unten
library-entry-idle = Jetzt nicht aktiv
library-entry-keys = Schlüssel
library-entry-keys-hint = Einer je Zeile. Jeder von ihnen bringt den Eintrag in den Prompt, wenn er im Chat vorkommt.
library-entry-name = Name des Eintrags
library-entry-on = „{ $name }“ verwenden
library-entry-order = Reihenfolge
library-entry-order-hint = Kleinere Zahlen stehen weiter vorn im Prompt.
library-entry-position = Stelle
library-entry-priority = Vorrang
library-entry-priority-hint = Ist das Budget aufgebraucht, fallen kleinere Zahlen zuerst weg. Ohne Angabe gilt die Reihenfolge.
library-entry-problem = Dieser Eintrag passt auf nichts: { $reason }
library-entry-regex = Schlüssel sind Muster
library-entry-regex-hint = Reguläre Ausdrücke, als /Muster/Schalter oder bloß so. Abgelehnt wird, was mehr als lineare Zeit brauchen könnte.
library-entry-remove = „{ $name }“ entfernen
library-entry-secondary = Zweite Schlüssel
library-entry-selective = Braucht einen zweiten Schlüssel
library-entry-selective-hint = Auch einer der zweiten Schlüssel, einer je Zeile, muss im Chat vorkommen.
library-entry-up = „{ $name }“ nach oben
library-examples = Beispiele
library-export-charx = Als CHARX exportieren
library-export-json = Als JSON exportieren ({ $version })
library-export-png = Als PNG exportieren
library-files =
    { $n ->
        [one] Zu dieser Karte gehört eine weitere Datei. Sie wird aufbewahrt und kommt in CHARX mit.
       *[other] Zu dieser Karte gehören { $n } weitere Dateien. Sie werden aufbewahrt und kommen in CHARX mit.
    }
library-filter = Figuren filtern
library-greeting = Begrüßung
library-greeting-add = Begrüßung hinzufügen
library-greeting-add-to = Zu „{ $list }“ hinzufügen
library-greeting-of = { $list }: { $n }
library-greeting-remove = Diese Begrüßung entfernen
library-greetings-group = Begrüßungen in einer Runde
library-greetings-group-hint = Stehen zusätzlich zur Wahl, wenn mehrere Figuren in einem Chat sind.
library-greetings-other = Weitere Begrüßungen
library-greetings-other-hint = Ein Chat beginnt mit der Begrüßung; zu diesen lässt sich weiterwischen.
library-import = Karte importieren
library-let-speak = Diese Figur sprechen lassen
library-lorebook = Lorebook
library-lorebook-add = Lorebook hinzufügen
library-lorebook-budget = Token-Budget
library-lorebook-budget-hint = So viele Token dürfen alle Einträge im Prompt zusammen haben.
library-lorebook-depth = Suchtiefe
library-lorebook-depth-hint = In wie vielen der neuesten Nachrichten nach Schlüsseln gesucht wird.
library-lorebook-entries =
    { $n ->
        [one] { $n } Eintrag
       *[other] { $n } Einträge
    }
library-lorebook-filter = Einträge durchsuchen
library-lorebook-odd = Das Lorebook dieser Karte lässt sich nicht lesen. Es bleibt in der Karte, wie es ist.
library-lorebook-recursive = Rekursive Suche
library-lorebook-recursive-hint = Schlüssel werden auch in aktiven Einträgen gesucht, sodass einer den anderen holen kann.
library-name = Name
library-nickname = Spitzname
library-only-charx =
    { $n ->
        [one] Eine weitere Datei dieser Figur ist nicht darin: Nur CHARX hat Platz dafür.
       *[other] { $n } weitere Dateien dieser Figur sind nicht darin: Nur CHARX hat Platz dafür.
    }
library-personality = Persönlichkeit
library-portrait-choose = Porträt wählen …
library-portrait-of = Porträt von { $name }
library-post-history = Nach dem Verlauf
library-remove-from-chat = Aus dem Chat nehmen
library-scenario = Szenario
library-speaks = Wer spricht
library-start-chat = Mit { $name } chatten
library-system-prompt = Systemanweisung
library-tags = Schlagwörter
library-tags-hint = Eines je Zeile. Sie dienen zum Ordnen und stehen nie im Prompt.
library-version = Fassung der Karte
