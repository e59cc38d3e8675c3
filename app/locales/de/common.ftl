# Words that every page uses.

common-cancel = Abbrechen
common-close = Schließen
common-copy = Kopieren
common-delete = Löschen
common-edit = Bearbeiten
common-export = Exportieren
common-no-dialog = Hier lässt sich kein Dateidialog zeigen ({ $reason }). Geben Sie den Pfad ein, oder legen Sie die Datei auf dem Fenster ab.
common-no-dialog-save = Hier lässt sich kein Dateidialog zeigen ({ $reason }). Die Datei kommt zu den Downloads.
common-not-open = Die Chats lassen sich nicht öffnen
common-open = Öffnen
common-resize = Breite der Leiste ändern
common-retry = Erneut versuchen
common-save-problem = Nicht gespeichert: { $reason }
common-set-aside = Beschädigte Datei beiseitelegen und neu beginnen
common-set-aside-done = Die beschädigte Datei liegt hier: { $path }
common-set-aside-hint = Die beschädigte Datei wird umbenannt und bleibt in ihrem Ordner, sodass nichts weiter verloren geht. Eine neue, leere tritt an ihre Stelle.
common-undo = Rückgängig
