# Words that every page uses.

common-cancel = Abbrechen
common-close = Schließen
common-copy = Kopieren
common-delete = Löschen
common-edit = Bearbeiten
common-export = Exportieren
common-not-open = Die Chats lassen sich nicht öffnen
common-open = Öffnen
common-resize = Breite der Leiste ändern
common-retry = Erneut versuchen
common-save-problem = Nicht gespeichert: { $reason }
common-undo = Rückgängig
