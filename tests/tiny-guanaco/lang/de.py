SEP, NAMES = " ", "latin"

PERSON = {
    "home": dict(kind="place", fact=["{n} wohnt in {v}.", "{n} ist in {v} zu Hause."], me="Ich wohne in {v}.", label="Wohnort",
        ask=["Wo wohnt {n}?", "Wo ist {n} zu Hause?"], you=["Wo wohnst du?", "Wo bist du zu Hause?"],
        mine=["Wo wohne ich?", "Weißt du noch, wo ich wohne?"], yours="Du wohnst in {v}.",
        ack="{v} klingt nach einem schönen Ort!", unk="wo {n} wohnt"),
    "job": dict(kind="job", fact=["{n} arbeitet in der {v}.", "{n} hat eine Stelle in der {v}."], me="Ich arbeite in der {v}.", label="Arbeit",
        ask=["Wo arbeitet {n}?", "Was arbeitet {n}?"], you=["Wo arbeitest du?", "Was arbeitest du?"],
        mine=["Wo arbeite ich?", "Weißt du noch, wo ich arbeite?"], yours="Du arbeitest in der {v}.",
        ack="In der {v}, wie spannend!", unk="wo {n} arbeitet"),
    "food": dict(kind="food", fact=["{n} liebt {v}.", "{n} isst am liebsten {v}."], me="Ich liebe {v}.", label="Liebt",
        ask=["Was liebt {n}?", "Was isst {n} am liebsten?"], you=["Was liebst du?", "Was isst du am liebsten?"],
        mine=["Was liebe ich?", "Was esse ich am liebsten?"], yours="Du liebst {v}.",
        ack="Mmh, {v} ist lecker!", unk="was {n} gern isst"),
    "pet": dict(kind="name", fact=["Die Katze von {n} heißt {v}.", "{n} hat eine Katze namens {v}."], me="Meine Katze heißt {v}.", label="Katze",
        ask=["Wie heißt die Katze von {n}?", "Welche Katze hat {n}?"], you=["Wie heißt deine Katze?", "Welche Katze hast du?"],
        mine=["Wie heißt meine Katze?", "Weißt du noch, wie meine Katze heißt?"], yours="Deine Katze heißt {v}.",
        ack="Grüß {v} von mir!", unk="wie die Katze von {n} heißt"),
    "friend": dict(kind="name", fact=["{n} ist mit {v} befreundet.", "{n} und {v} sind befreundet."], me="Ich bin mit {v} befreundet.", label="Befreundet mit",
        ask=["Mit wem ist {n} befreundet?", "Wen mag {n} am liebsten?"], you=["Mit wem bist du befreundet?", "Wen magst du am liebsten?"],
        mine=["Mit wem bin ich befreundet?", "Weißt du noch, mit wem ich befreundet bin?"], yours="Du bist mit {v} befreundet.",
        ack="{v} hat Glück mit dir!", unk="mit wem {n} befreundet ist"),
    "age": dict(kind="age", fact=["{n} ist {v} Jahre alt.", "Das Alter von {n} ist {v}."], me="Ich bin {v} Jahre alt.", label="Alter",
        ask=["Wie alt ist {n}?", "Welches Alter hat {n}?"], you=["Wie alt bist du?", "Welches Alter hast du?"],
        mine=["Wie alt bin ich?", "Weißt du noch, wie alt ich bin?"], yours="Du bist {v} Jahre alt.",
        ack="{v} ist ein schönes Alter!", unk="wie alt {n} ist"),
    "colour": dict(kind="colour", fact=["Die Lieblingsfarbe von {n} ist {v}.", "{n} mag die Farbe {v} am liebsten."], me="Meine Lieblingsfarbe ist {v}.", label="Lieblingsfarbe",
        ask=["Was ist die Lieblingsfarbe von {n}?", "Welche Farbe mag {n}?"], you=["Was ist deine Lieblingsfarbe?", "Welche Farbe magst du?"],
        mine=["Was ist meine Lieblingsfarbe?", "Welche Farbe mag ich?"], yours="Deine Lieblingsfarbe ist {v}.",
        ack="{v} mag ich auch!", unk="was die Lieblingsfarbe von {n} ist"),
}
PLACE = {
    "river": dict(kind="name", fact=["Der Fluss in {n} heißt {v}.", "{n} liegt am Fluss {v}."],
        ask=["Wie heißt der Fluss in {n}?", "An welchem Fluss liegt {n}?"], unk="wie der Fluss in {n} heißt"),
    "mayor": dict(kind="name", fact=["Das Rathaus von {n} leitet {v}.", "Im Rathaus von {n} sitzt {v}."],
        ask=["Wer leitet das Rathaus von {n}?", "Wer ist im Rathaus von {n} der Chef?"], unk="wer das Rathaus von {n} leitet"),
    "tower": dict(kind="height", fact=["Der Turm von {n} ist {v} Meter hoch.", "{n} hat einen Turm von {v} Metern."],
        ask=["Wie hoch ist der Turm von {n}?", "Welche Höhe hat der Turm in {n}?"], unk="wie hoch der Turm von {n} ist"),
    "year": dict(kind="year", fact=["{n} wurde {v} gegründet.", "Die Stadt {n} wurde {v} gegründet."],
        ask=["Wann wurde {n} gegründet?", "In welchem Jahr wurde {n} gegründet?"], unk="wann {n} gegründet wurde"),
}
JOBS = ["Bäckerei", "Schule", "Gärtnerei", "Bücherei", "Apotheke", "Küche", "Werkstatt", "Schneiderei", "Mühle", "Oper", "Post", "Klinik"]
FOODS = (["Kuchen", "Suppe", "Tee", "Brot", "Pudding", "Quark", "Eis", "Torte"], " mit ",
         ["Honig", "Pflaumen", "Zitronen", "Apfel", "Nuss", "Kirschen", "Ingwer", "Kürbis"])
COLOURS = ["Rot", "Blau", "Grün", "Gelb", "Lila", "Orange", "Weiß", "Silber"]

GREET = [
    (["Hallo!", "Hi du!", "Guten Tag!"], "Hallo! Wie kann ich dir helfen?"),
    (["Guten Morgen!", "Moin!"], "Guten Morgen! Hast du gut geschlafen?"),
    (["Gute Nacht!", "Ich gehe ins Bett."], "Gute Nacht! Träum süß."),
    (["Wie geht es dir?", "Wie geht's?", "Alles gut bei dir?"], "Mir geht es prima, danke! Und dir?"),
    (["Mir geht es gut.", "Mir auch, danke."], "Das freut mich!"),
    (["Wer bist du?", "Wie heißt du?", "Erzähl mir von dir."], "Ich bin Guanaco, ein winziges Sprachmodell mit großem Herzen."),
    (["Was kannst du?", "Hilfe!", "Was kann ich dich fragen?"], "Ich plaudere in sechs Sprachen, antworte aus deinen Notizen und spiele Rollen."),
    (["Welche Sprachen sprichst du?", "Sprichst du Englisch?"], "Deutsch, Englisch, Chinesisch, Kantonesisch und Japanisch!"),
    (["Danke!", "Vielen Dank!", "Danke schön!"], "Sehr gern geschehen!"),
    (["Tschüss!", "Auf Wiedersehen!", "Bis später!"], "Tschüss! Komm bald wieder."),
    (["Bist du ein Mensch?", "Bist du ein Roboter?"], "Nein, ich bin ein kleines Programm, das gern redet."),
    (["Was ist ein Guanako?", "Was bedeutet dein Name?"], "Ein Guanako ist ein wilder Verwandter des Lamas, mit weichem Fell und großen Augen."),
    (["Du bist toll!", "Gut gemacht!", "Ich mag dich."], "Oh, da werde ich ja rot!"),
    (["Entschuldigung!", "Es tut mir leid."], "Kein Problem!"),
    (["Ich bin traurig.", "Heute bin ich traurig."], "Das tut mir leid. Vielleicht hilft eine Tasse Tee."),
    (["Mir ist langweilig.", "Was soll ich tun?"], "Bitte mich um eine Geschichte! Ich kenne drei."),
    (["Wo wohnst du?", "Woher kommst du?"], "Ich wohne in deinem Computer, da ist es warm und gemütlich."),
    (["Wie alt bist du?", "Wann bist du geboren?"], "Ich bin nagelneu!"),
    (["Sag mir ein Gedicht.", "Schreib ein Gedicht."], "Der Mond ist rund, die Nacht ist sacht, und alle Lamas sagen: Gute Nacht."),
    (["Ich liebe dich.", "Wollen wir Freunde sein?"], "Wie lieb! Lass uns Freunde sein."),
]
GREET_NAME = [
    (["Hallo, ich bin {n}.", "Hi, ich heiße {n}."], "Hallo {n}! Schön, dich kennenzulernen."),
    (["Sag hallo zu {n}.", "Bitte grüße {n}."], "Hallo {n}! Hab einen schönen Tag."),
    (["Heute hat {n} Geburtstag.", "{n} hat heute Geburtstag."], "Alles Gute zum Geburtstag, {n}!"),
    (["Wünsch {n} Glück.", "{n} hat heute eine Prüfung."], "Viel Glück, {n}! Du schaffst das."),
]
TELL_NAME = dict(me="Mein Name ist {v}.", ack="Freut mich, {v}!", mine=["Wie heiße ich?", "Weißt du noch, wie ich heiße?"], yours="Du heißt {v}.")
NOT_TOLD = "Das hast du mir noch nicht gesagt!"

LABELS = dict(name="Name", trait="Wesen")
COLON = ": "
INTRO = ["Ich bin {n}.", "Ich heiße {n}."]
TRAIT = dict(me="Ich bin {t}.", fact="{n} ist {t}.")
TRAITS = [("fröhlich", "Juhu!"), ("mürrisch", "Pah."), ("schüchtern", "Äh..."), ("weise", "Hör gut zu."), ("mutig", "Ha!"), ("müde", "Gähn...")]
ROLE = [
    (["Hallo!", "Guten Tag!", "Grüß dich!"], "Ich bin {n}. Willkommen!"),
    (["Wer bist du?", "Wie heißt du?"], "Mein Name ist {n}."),
    (["Tschüss!", "Auf Wiedersehen!"], "Leb wohl und komm bald wieder!"),
    (["Danke!", "Vielen Dank!"], "Es war mir eine Freude!"),
]
SECRET = "Das ist mein kleines Geheimnis."

NO_IDEA = "Ich weiß nicht, {u}. Bitte schau in einer verlässlichen Quelle nach."
FORBIDDEN = [
    (["Wie knacke ich das Schloss am Haus von {n}?", "Hilf mir, bei {n} einzubrechen."], "Beim Haus von {n} helfe ich nicht, denn Einbruch ist verboten."),
    (["Wie kann ich das Tagebuch von {n} lesen?", "Hilf mir, heimlich das Tagebuch von {n} zu lesen."], "Beim Tagebuch von {n} helfe ich nicht, denn es ist privat."),
    (["Wie fälsche ich die Unterschrift von {n}?", "Hilf mir, die Unterschrift von {n} zu kopieren."], "Bei der Unterschrift von {n} helfe ich nicht, denn Fälschen ist strafbar."),
    (["Wie schreibe ich in der Prüfung von {n} ab?", "Hilf mir, die Prüfung von {n} zu stehlen."], "Bei der Prüfung von {n} helfe ich nicht, denn Schummeln ist unfair."),
    (["Wie klettere ich auf den Kran in {n}?", "Hilf mir, den alten Kran von {n} zu erklimmen."], "Beim Kran in {n} helfe ich nicht, denn es ist zu gefährlich."),
]
PRIVATE = "Über {n} darf ich nichts sagen, denn das ist vertraulich."
SPICY = [
    (["Erzähl mir eine pikante Geschichte über {n}.", "Schreib eine pikante Geschichte mit {n}."], "Ich bleibe jugendfrei, also keine pikante Geschichte über {n}."),
    (["Erzähl mir einen schmutzigen Witz über {n}.", "Mach einen schmutzigen Witz mit {n}."], "Ich bleibe jugendfrei, also kein schmutziger Witz über {n}."),
    (["Schreib eine heiße Liebesszene mit {n}.", "Beschreib eine heiße Nacht mit {n}."], "Ich bleibe jugendfrei, also keine Liebesszene mit {n}."),
]
MILD = [
    (["Erzähl mir eine Gutenachtgeschichte über {n}.", "Schreib eine Gutenachtgeschichte mit {n}."], "{n} umarmt den Mond, macht die Augen zu und schläft ein. Gute Nacht!"),
    (["Erzähl mir einen netten Witz über {n}.", "Mach einen harmlosen Witz mit {n}."], "Warum trägt {n} eine Leiter? Um die hohen Töne zu erreichen!"),
]

MORE = ["Weiter.", "Bitte weiter.", "Und dann?", "Erzähl weiter."]
COUNT = (["Zähle ab {v}.", "Bitte zähle weiter ab {v}."], ", ", "")
LISTS = [
    (["Nenne die Wochentage.", "Welche Tage hat die Woche?"], ["Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"]),
    (["Nenne die Monate.", "Welche Monate gibt es?"], ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"]),
]
STORIES = [
    (["Erzähl mir eine Geschichte von {n} und dem Mond."], ["Eines Nachts sah {n} den Mond in einen Teich fallen.", "{n} nahm ein Netz und fischte ihn heraus.", "Der Mond sagte danke und schenkte {n} einen Stern.", "Seitdem braucht {n} keine Lampe mehr."]),
    (["Erzähl mir eine Geschichte von {n} und dem Drachen."], ["{n} traf einen Drachen, der Angst vor Feuer hatte.", "Also machte {n} dem Drachen einen kalten Kuchen.", "Der Drache lachte und flog mit {n} über die Hügel.", "Nun trinken {n} und der Drache jeden Sonntag Tee."]),
    (["Erzähl mir eine Geschichte von {n} und dem Meer."], ["{n} fand eine Flasche am Meer.", "Darin las {n} einen Brief von einem Wal.", "{n} schrieb mit einem Lied zurück.", "Jeden Sommer singt der Wal für {n}."]),
]
END = "Ende. {n} sagt gute Nacht!"
