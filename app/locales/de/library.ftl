# The library of characters.

library-active-because = Aktiv: „{ $key }“ kam vor
library-active-constant = Aktiv: immer eingeschaltet
library-active-decorator = Aktiv: vom Eintrag selbst bestimmt
library-active-dropped = Weggelassen: Das Budget des Lorebooks ist aufgebraucht
library-active-none = Keine Einträge sind aktiv.
library-active-recursive = Aktiv: in einem anderen Eintrag erwähnt
library-add-to-chat = In den Chat aufnehmen
library-characters = Figuren
library-create = Neue Figur
library-create-entry = Aus einem Lexikoneintrag
library-create-entry-hint = Über die Figur geschrieben, wie in einem Lexikon.
library-create-narration = Aus einer Erzählung
library-create-narration-hint = Von der Figur selbst erzählt, in der Ichform.
library-create-traits = Aus Eigenschaften
library-create-traits-hint = Eine Eigenschaft je Zeile, etwa „Alter: 23“.
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
library-let-speak = Diese Figur sprechen lassen
library-lorebook-entries =
    { $n ->
        [one] { $n } Eintrag
       *[other] { $n } Einträge
    }
library-name = Name
library-nickname = Spitzname
library-personality = Persönlichkeit
library-portrait-of = Porträt von { $name }
library-post-history = Nach dem Verlauf
library-remove-from-chat = Aus dem Chat nehmen
library-scenario = Szenario
library-speaks = Wer spricht
library-start-chat = Mit { $name } chatten
library-system-prompt = Systemanweisung