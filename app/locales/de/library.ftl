# The library of characters.

library-active = Jetzt aktiv
library-active-because = Aktiv: „{ $key }“ kam vor
library-active-constant = Aktiv: immer eingeschaltet
library-active-decorator = Aktiv: vom Eintrag selbst bestimmt
library-active-dropped = Weggelassen: Das Budget des Lorebooks ist aufgebraucht
library-active-none = Keine Einträge sind aktiv.
library-active-recursive = Aktiv: in einem anderen Eintrag erwähnt
library-add-to-chat = In den Chat aufnehmen
library-alternate-greetings = Weitere Begrüßungen
library-characters = Figuren
library-create = Neue Figur
library-create-entry = Aus einem Lexikoneintrag
library-create-entry-hint = Über die Figur geschrieben, wie in einem Lexikon.
library-create-narration = Aus einer Erzählung
library-create-narration-hint = Von der Figur selbst erzählt, in der Ichform.
library-create-traits = Aus Eigenschaften
library-create-traits-hint = Eine Eigenschaft je Zeile, etwa „Alter: 23“.
library-creator = Von
library-creator-notes = Hinweise von der Autorin oder dem Autor
library-delete-question = Die Figur „{ $name }“ endgültig löschen?
library-description = Beschreibung
library-drop-hint = Charakterkarten hier ablegen: PNG, JSON oder CHARX
library-empty = Noch keine Figuren. Erstellen Sie eine, oder legen Sie eine Karte hier ab.
library-examples = Beispiele
library-export-charx = Als CHARX exportieren
library-export-json = Als JSON exportieren
library-export-png = Als PNG exportieren
library-filter = Figuren filtern
library-greeting = Begrüßung
library-import = Karte importieren
library-imported = { $name } wurde importiert.
library-in-chat = In diesem Chat
library-lorebook = Wissensbuch
library-lorebook-add = Eintrag hinzufügen
library-lorebook-budget = Budget in Token
library-lorebook-constant = Immer eingeschaltet
library-lorebook-content = Inhalt
library-lorebook-depth = Durchsuchte Nachrichten
library-lorebook-entries =
    { $n ->
        [one] { $n } Eintrag
       *[other] { $n } Einträge
    }
library-lorebook-keys = Auslöser
library-lorebook-order = Reihenfolge
library-lorebook-priority = Priorität
library-lorebook-recursive = Einträge dürfen Einträge auslösen
library-lorebook-regex = Auslöser sind reguläre Ausdrücke
library-lorebook-secondary = Weitere Auslöser
library-nickname = Spitzname
library-personality = Persönlichkeit
library-portrait-of = Porträt von { $name }
library-post-history = Nach dem Verlauf
library-refused = { $file } wurde abgelehnt: { $reason }
library-remove-from-chat = Aus dem Chat nehmen
library-scenario = Szenario
library-speaker-auto = Wer zuletzt sprach
library-speaks = Wer spricht
library-start-chat = Mit { $name } chatten
library-system-prompt = Systemanweisung
library-tags = Schlagwörter
library-version = Fassung
library-warnings =
    { $n ->
        [one] { $n } Hinweis zu dieser Karte
       *[other] { $n } Hinweise zu dieser Karte
    }
