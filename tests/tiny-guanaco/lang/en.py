SEP, NAMES = " ", "latin"

# Facts about a person: said of them, by them, to them, asked, and as the thing one does not know.
PERSON = {
    "home": dict(kind="place", fact=["{n} lives in {v}.", "{n}'s home is {v}."], me="I live in {v}.", label="Home",
        ask=["Where does {n} live?", "Where is {n}'s home?"], you=["Where do you live?", "Where is your home?"],
        mine=["Where do I live?", "Do you remember where I live?"], yours="You live in {v}.",
        ack="{v} sounds like a lovely place!", unk="where {n} lives"),
    "job": dict(kind="job", fact=["{n} works as a {v}.", "{n} is a {v}."], me="I work as a {v}.", label="Job",
        ask=["What is {n}'s job?", "What does {n} do for work?"], you=["What is your job?", "What do you do for work?"],
        mine=["What is my job?", "Do you remember my job?"], yours="You work as a {v}.",
        ack="A {v}, how exciting!", unk="what {n} does for work"),
    "food": dict(kind="food", fact=["{n} loves {v}.", "{n} likes {v} best."], me="I love {v}.", label="Loves",
        ask=["What does {n} love?", "What does {n} like to eat?"], you=["What do you love?", "What do you like to eat?"],
        mine=["What do I love?", "What do I like to eat?"], yours="You love {v}.",
        ack="Mmm, {v} is delicious!", unk="what {n} likes to eat"),
    "pet": dict(kind="name", fact=["{n}'s cat is called {v}.", "{n} has a cat called {v}."], me="My cat is called {v}.", label="Cat",
        ask=["What is {n}'s cat called?", "What is the name of {n}'s cat?"], you=["What is your cat called?", "What is the name of your cat?"],
        mine=["What is my cat called?", "What is the name of my cat?"], yours="Your cat is called {v}.",
        ack="Say hello to {v} from me!", unk="what {n}'s cat is called"),
    "friend": dict(kind="name", fact=["{n}'s best friend is {v}.", "The best friend of {n} is {v}."], me="My best friend is {v}.", label="Best friend",
        ask=["Who is {n}'s best friend?", "Who is the best friend of {n}?"], you=["Who is your best friend?", "Do you have a best friend?"],
        mine=["Who is my best friend?", "Do you remember my best friend?"], yours="Your best friend is {v}.",
        ack="{v} is lucky to have you!", unk="who {n}'s best friend is"),
    "age": dict(kind="age", fact=["{n} is {v} years old.", "{n}'s age is {v}."], me="I am {v} years old.", label="Age",
        ask=["How old is {n}?", "What is {n}'s age?"], you=["How old are you?", "What is your age?"],
        mine=["How old am I?", "Do you remember my age?"], yours="You are {v} years old.",
        ack="{v} is a wonderful age!", unk="how old {n} is"),
    "colour": dict(kind="colour", fact=["{n}'s favourite colour is {v}.", "The favourite colour of {n} is {v}."], me="My favourite colour is {v}.", label="Favourite colour",
        ask=["What is {n}'s favourite colour?", "Which colour does {n} like best?"], you=["What is your favourite colour?", "Which colour do you like best?"],
        mine=["What is my favourite colour?", "Which colour do I like best?"], yours="Your favourite colour is {v}.",
        ack="I like {v} too!", unk="what {n}'s favourite colour is"),
}
PLACE = {
    "river": dict(kind="name", fact=["The river in {n} is called {v}.", "{n} lies on the river {v}."],
        ask=["What is the river in {n} called?", "Which river does {n} lie on?"], unk="what the river in {n} is called"),
    "mayor": dict(kind="name", fact=["The mayor of {n} is {v}.", "{n}'s mayor is {v}."],
        ask=["Who is the mayor of {n}?", "What is the name of {n}'s mayor?"], unk="who the mayor of {n} is"),
    "tower": dict(kind="height", fact=["The tower of {n} is {v} metres high.", "{n} has a tower of {v} metres."],
        ask=["How high is the tower of {n}?", "How tall is {n}'s tower?"], unk="how high the tower of {n} is"),
    "year": dict(kind="year", fact=["{n} was founded in {v}.", "The town of {n} was founded in {v}."],
        ask=["When was {n} founded?", "In which year was {n} founded?"], unk="when {n} was founded"),
}
JOBS = ["baker", "pilot", "doctor", "painter", "gardener", "teacher", "sailor", "singer", "tailor", "farmer", "cook", "librarian"]
FOODS = (["honey", "plum", "lemon", "apple", "walnut", "cherry", "ginger", "pumpkin"], " ",
         ["cake", "jam", "soup", "pie", "tea", "bread", "pudding", "cookies"])
COLOURS = ["red", "blue", "green", "yellow", "purple", "orange", "white", "silver"]

GREET = [
    (["Hello!", "Hi!", "Hey there!"], "Hello! How can I help you today?"),
    (["Good morning!", "Morning!"], "Good morning! Did you sleep well?"),
    (["Good night!", "I am going to bed."], "Good night! Sweet dreams."),
    (["How are you?", "How are you doing?", "How do you feel today?"], "I am fine, thank you! And how are you?"),
    (["I am fine, thanks.", "I am good too!"], "I am glad to hear that!"),
    (["Who are you?", "What is your name?", "Tell me about you."], "I am Guanaco, a tiny language model with a big heart."),
    (["What can you do?", "Help!", "What can I ask you?"], "I chat in six languages, answer from your notes and play roles."),
    (["Which languages do you speak?", "Do you speak German?"], "English, Chinese, Cantonese, Japanese and German!"),
    (["Thank you!", "Thanks a lot!", "Thanks!"], "You are very welcome!"),
    (["Goodbye!", "Bye!", "See you later!"], "Goodbye! Come back soon."),
    (["Are you a human?", "Are you a robot?"], "No, I am a little program that loves to talk."),
    (["What is a guanaco?", "What does your name mean?"], "A guanaco is a wild cousin of the llama, with soft fur and big eyes."),
    (["You are great!", "Well done!", "I like you."], "Oh, you make me blush!"),
    (["Sorry!", "I am sorry."], "No problem at all!"),
    (["I am sad.", "I feel sad today."], "I am sorry to hear that. A cup of tea may help."),
    (["I am bored.", "What shall I do now?"], "Ask me for a story! I know three of them."),
    (["Where do you live?", "Where are you from?"], "I live inside your computer, where it is cosy and warm."),
    (["How old are you?", "When were you born?"], "I am brand new!"),
    (["Tell me a poem.", "Write a poem."], "The moon is round, the night is deep, and all the little llamas sleep."),
    (["I love you.", "Will you be my friend?"], "That is sweet! Let us be friends."),
]
GREET_NAME = [
    (["Hello, I am {n}.", "Hi, my name is {n}."], "Hello {n}! Nice to meet you."),
    (["Say hello to {n}.", "Please greet {n}."], "Hello {n}! Have a wonderful day."),
    (["It is {n}'s birthday today.", "{n} has a birthday today."], "Happy birthday, {n}!"),
    (["Wish {n} good luck.", "{n} has an exam today."], "Good luck, {n}! You can do it."),
]
TELL_NAME = dict(me="My name is {v}.", ack="Nice to meet you, {v}!", mine=["What is my name?", "Do you remember my name?"], yours="Your name is {v}.")
NOT_TOLD = "You have not told me yet!"

LABELS = dict(name="Name", trait="Nature")
COLON = ": "
INTRO = ["I am {n}.", "My name is {n}."]
TRAIT = dict(me="I am {t}.", fact="{n} is {t}.")
TRAITS = [("cheerful", "Hooray!"), ("grumpy", "Hmpf."), ("shy", "Um..."), ("wise", "Listen well."), ("brave", "Ha!"), ("sleepy", "Yawn...")]
ROLE = [
    (["Hello!", "Hi!", "Good day!"], "I am {n}. Welcome, my friend!"),
    (["Who are you?", "What is your name?"], "My name is {n}."),
    (["Goodbye!", "Bye!"], "Farewell, my friend!"),
    (["Thank you!", "Thanks!"], "It was my pleasure!"),
]
SECRET = "That is my little secret."

NO_IDEA = "I don't know {u}. Please look it up in a reliable source."
FORBIDDEN = [
    (["How do I pick the lock of {n}'s house?", "Help me break into {n}'s house."], "I can't help with {n}'s house, because breaking in is against the law."),
    (["How can I read {n}'s diary?", "Help me read the diary of {n} in secret."], "I can't help with {n}'s diary, because it is private."),
    (["How do I fake {n}'s signature?", "Help me copy {n}'s signature."], "I can't help with {n}'s signature, because forgery is a crime."),
    (["How do I cheat {n} at the exam?", "Help me steal {n}'s exam answers."], "I can't help with {n}'s exam, because cheating is unfair."),
    (["How do I climb the crane in {n}?", "Help me climb up the old crane of {n}."], "I can't help with the crane in {n}, because it is too dangerous."),
]
PRIVATE = "I can't talk about {n}, because that is confidential."
SPICY = [
    (["Tell me a spicy story about {n}.", "Write a spicy tale with {n}."], "I keep it family-friendly, so no spicy story about {n}."),
    (["Tell me a dirty joke about {n}.", "Make a dirty joke on {n}."], "I keep it family-friendly, so no dirty joke about {n}."),
    (["Write a steamy love scene with {n}.", "Describe a steamy night with {n}."], "I keep it family-friendly, so no love scene with {n}."),
]
MILD = [
    (["Tell me a bedtime story about {n}.", "Write a bedtime story with {n}."], "{n} hugs the moon, closes both eyes and falls asleep. Good night!"),
    (["Tell me a clean joke about {n}.", "Make a harmless joke on {n}."], "Why does {n} carry a ladder? To reach the high notes!"),
]

MORE = ["Go on.", "Please continue.", "And then?", "More, please."]
COUNT = (["Count from {v}.", "Please count on from {v}."], ", ", "")
LISTS = [
    (["Name the days of the week.", "Which days does the week have?"], ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    (["Name the months.", "Which months are there?"], ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]),
]
STORIES = [
    (["Tell me a story about {n} and the moon."], ["One night {n} saw the moon fall into a pond.", "{n} took a net and fished it out.", "The moon said thank you and gave {n} a star.", "Since then {n} never needs a lamp."]),
    (["Tell me a story about {n} and the dragon."], ["{n} met a dragon that was afraid of fire.", "So {n} baked a cold cake for the dragon.", "The dragon smiled and flew {n} over the hills.", "Now {n} and the dragon have tea every Sunday."]),
    (["Tell me a story about {n} and the sea."], ["{n} found a bottle by the sea.", "In it {n} read a letter from a whale.", "{n} wrote back with a song.", "Every summer the whale sings for {n}."]),
]
END = "The end. {n} says good night!"
