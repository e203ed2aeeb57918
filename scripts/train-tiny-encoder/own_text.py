"""Sentences of our own: templates over the word lists of `topics.py`, other languages, code, and
random words of the vocabulary, so that every kept word is seen in several contexts."""

import random

from topics import TOPICS

STATEMENTS = (
    "The {trait} {person} {act} {place}.",
    "A {person} {act}.",
    "The {person} {act} because the {thing} was {trait}.",
    "{place}, the {person} {act}.",
    "The {thing} is {trait}.",
    "The {thing} and the {thing2} were {trait} {place}.",
    "My {person} {act}, then {act2}.",
    "Every {person} needs a {trait} {thing}.",
    "There was a {trait} {thing} {place}.",
    "The {person} who {act} had never seen a {thing}.",
    "After the {person} {act}, the {person2} {act2}.",
    "Neither the {person} nor the {person2} liked the {thing}.",
    "The {thing} of the {person} was {trait} and {trait2}.",
    "It is easy to see why the {thing} became {trait}.",
    "Experts say that a {trait} {thing} changes how every {person} works.",
    "{topic}: {thing}, {thing2}, {thing3} and {person}.",
    "A {thing} is a kind of {thing2} that is used {place}.",
    "The {person} and the {person2} are {trait}.",
    "The {person} was not {trait}, but the {person2} was.",
    "In {year}, the {person} {act} {place}.",
    "The {person} {act} for {number} days and {act2}.",
    "{number} of the {thing}s were {trait}.",
    "Without the {thing}, no {person} could have a {thing2}.",
    "The {person} expects the {thing} to become {trait} next year, while the {person2} warns that"
    " the {thing2} is still {trait2}.",
)
QUESTIONS = (
    "How do I find a {trait} {thing}?",
    "What is a {thing}?",
    "Who {act} {place}?",
    "Why is the {thing} so {trait}?",
    "Where can I see the {thing} and the {thing2}?",
    "Is the {person} {trait} or {trait2}?",
    "What is the difference between a {thing} and a {thing2}?",
    "Can a {person} have a {thing} {place}?",
    "When did the {person} get the {trait} {thing}?",
    "Which {person} {act}?",
    "How many {thing}s does a {person} need?",
    "Do you know the {person} who {act}?",
)
SPOKEN = (
    "I {act} today.",
    "We {act} {place}, and I was so {feeling}!",
    "I am {feeling} about the {thing}.",
    "Please help me with the {thing}, the {person} is {trait}.",
    "I need a {thing} and cannot find the {thing2}.",
    "The {thing} was {trait}! I loved it.",
    "The {thing} was {trait}. I hated it.",
    "This {thing} is {trait}, do not buy it.",
    "I think the {person} is {trait}.",
    "Take the {thing}, then the {thing2}, and wait for the {person}.",
    "First {thing}, then {thing2}, finally {thing3}.",
    "Thank you for the {thing}.",
    "Sorry, I forgot the {thing} {place}.",
    "You should never trust a {trait} {person}.",
)
MIXED = (
    "The {person} {act}, and meanwhile a {other_person} {other_act}.",
    "A {person} met a {trait} {other_person} {other_place}.",
    "The {thing} reminded the {other_person} of a {other_thing}.",
    "{thing} and {other_thing}",
    "The {person} {act}. The {other_person} {other_act}.",
    "Is a {thing} more {trait} than a {other_thing}?",
)
SHORT = (
    "{thing}", "{trait} {thing}", "{person}", "{thing}?", "{person} {act}", "{trait}!", "{topic}",
    "{act}", "{place}", "{thing} {thing2}", "The {thing}.", "a {trait} {person} {place}",
)
FEELINGS = "happy sad angry excited tired proud nervous sorry glad worried bored amazed".split()


def _fill(template, rng):
    topic, other = rng.sample(sorted(TOPICS), 2)
    words, others = TOPICS[topic], TOPICS[other]
    things, people = rng.sample(words["things"], 3), rng.sample(words["people"], 2)
    acts, traits = rng.sample(words["acts"], 2), rng.sample(words["traits"], 2)
    text = template.format(
        topic=topic, thing=things[0], thing2=things[1], thing3=things[2],
        person=people[0], person2=people[1], act=acts[0], act2=acts[1],
        trait=traits[0], trait2=traits[1], place=rng.choice(words["places"]),
        other_person=rng.choice(others["people"]), other_act=rng.choice(others["acts"]),
        other_thing=rng.choice(others["things"]), other_place=rng.choice(others["places"]),
        feeling=rng.choice(FEELINGS), year=rng.randint(1500, 2030), number=rng.randint(2, 5000),
    )
    return text[0].upper() + text[1:] if len(text.split()) > 4 else text


def english(rng):
    """A sentence, a question, something said, or a few words, about one topic or two."""
    kinds = (STATEMENTS, STATEMENTS, STATEMENTS, QUESTIONS, SPOKEN, MIXED, SHORT)
    return _fill(rng.choice(rng.choice(kinds)), rng)


LANGUAGES = (
    # subjects | verbs with objects | places | templates
    (
        "el perro,la gata,el niño,la niña,mi abuela,el rey,la profesora,un hombre,una mujer,"
        "el médico,"
        "los soldados,mi hermano,la reina,el caballo,los pájaros,el cocinero,el abogado,"
        "nuestro vecino,"
        "el banco,el gobierno,el equipo,la lluvia,el sol,el libro,la casa,el tren",
        "come pan,bebe agua,duerme mucho,lee un libro,escribe una carta,canta una canción,"
        "corre rápido,"
        "compra fruta,vende zapatos,juega al fútbol,mira la luna,espera el autobús,es muy grande,"
        "está cansado,llega tarde,gana el partido,trabaja todo el día,prepara la cena,"
        "habla español,"
        "tiene miedo,pierde el dinero,abre la puerta,quiere una manzana",
        "en la casa,en el jardín,en la calle,en la playa,por la noche,con su familia,en Madrid,"
        "todos los días,debajo de la mesa,en el hospital,en la escuela,cerca del río,esta mañana",
        "{s} {v} {p}.|{s} {v} y {s2} {v2}.|¿por qué {s} {v}?|{p}, {s} {v}.|ayer {s} no estaba {p}.",
    ),
    (
        "le chien,la chatte,l'enfant,la fille,ma grand-mère,le roi,le professeur,un homme,"
        "une femme,"
        "le médecin,les soldats,mon frère,la reine,le cheval,les oiseaux,le cuisinier,l'avocat,"
        "notre voisin,la banque,le gouvernement,l'équipe,la pluie,le soleil,le livre,la maison,"
        "le train",
        "mange du pain,boit de l'eau,dort beaucoup,lit un livre,écrit une lettre,"
        "chante une chanson,"
        "court vite,achète des fruits,vend des chaussures,joue au football,regarde la lune,"
        "attend le bus,"
        "est très grand,est fatigué,arrive en retard,gagne le match,travaille toute la journée,"
        "prépare le dîner,parle français,a peur,perd son argent,ouvre la porte,veut une pomme",
        "dans la maison,dans le jardin,dans la rue,sur la plage,pendant la nuit,avec sa famille,"
        "à Paris,"
        "tous les jours,sous la table,à l'hôpital,à l'école,près de la rivière,ce matin,sur le lit",
        "{s} {v} {p}.|{s} {v} et {s2} {v2}.|pourquoi {s} {v} ?|{p},"
        " {s} {v}.|hier {s} n'était pas {p}.",
    ),
    (
        "der Hund,die Frau,das Kind,das Mädchen,meine Großmutter,der König,der Lehrer,ein Mann,"
        "der Arzt,die Soldaten,mein Bruder,die Königin,das Pferd,die Vögel,der Koch,der Anwalt,"
        "unser Nachbar,die Bank,die Regierung,die Mannschaft,der Regen,die Sonne,das Buch,"
        "das Haus,der Zug",
        "isst Brot,trinkt Wasser,schläft viel,liest ein Buch,schreibt einen Brief,singt ein Lied,"
        "läuft schnell,kauft Obst,verkauft Schuhe,spielt Fußball,sieht den Mond,wartet auf den Bus,"
        "ist sehr groß,ist müde,kommt zu spät,gewinnt das Spiel,arbeitet den ganzen Tag,steht,"
        "kocht das Abendessen,spricht Deutsch,hat Angst,verliert das Geld,öffnet die Tür,liegt",
        "im Haus,im Garten,auf der Straße,am Strand,in der Nacht,mit der Familie,in Berlin,"
        "jeden Tag,"
        "unter dem Tisch,im Krankenhaus,in der Schule,am Fluss,heute Morgen,auf dem Stuhl,"
        "auf dem Bett",
        "{s} {v} {p}.|{s} {v} und {s2} {v2}.|warum {v} {s}?|{s} {v} nicht {p}.|"
        "gestern war {s} {p}.",
    ),
    (
        "il cane,la gatta,il bambino,la nonna,il re,un uomo,una donna,il medico,i soldati,"
        "mio fratello",
        "mangia il pane,beve l'acqua,dorme molto,legge un libro,scrive una lettera,canta,corre,"
        "lavora",
        "nella casa,nel giardino,per strada,di notte,con la famiglia,a Roma,ogni giorno,a scuola",
        "{s} {v} {p}.|{s} {v} e {s2} {v2}.|perché {s} {v}?",
    ),
    (
        "homo,puella,rex,miles,agricola,deus,mors,vita,amor,magister,populus,senatus,poeta,"
        "filius,aqua",
        "amat,videt,vincit et regit,in terra est,cum populo venit,non habet,pacem facit,"
        "verbum dicit,"
        "sine causa erat,ad urbem it,tempus et laborem magnum habet,sed non est bonum,"
        "ut velit esse,"
        "per omnia saecula,ex nihilo,aliquam rem fecit,semper et nulla,in culpa sunt",
        "in urbe,ad astra,in aqua,sub rosa,post mortem,sine dolore,cum virtute,in nomine,ad rem,"
        "et cetera",
        "{s} {v} {p}.|{s} {v}, {s2} {v2} {p}.|{s} {s2} {v} {p}, et {v2}.",
    ),
)


def foreign(rng):
    """A sentence in Spanish, French, German, Italian or something like Latin."""
    subjects, verbs, places, templates = rng.choice(LANGUAGES)
    s, s2 = rng.sample(subjects.split(","), 2)
    v, v2 = rng.sample(verbs.split(","), 2)
    text = rng.choice(templates.split("|")).format(
        s=s, s2=s2, v=v, v2=v2, p=rng.choice(places.split(","))
    )
    return text[0].upper() + text[1:]


NAMES = (
    "users orders items total price count index node value key data result name id customer city year"
    " buffer file path line size max min score list tree graph account token block height amount email"
    " status date time message error config user product rate level queue task job image text"
).split()
CODE = (
    "def {a}({b}): return {b} {o} {n}",
    "def {a}_{b}({c}, {d}):\n    return {c} {o} {d}",
    "fn {a}({b}: u{w}) -> u{w} {{ {b} {o} {n} }}",
    "int {a}(int {b}, int {c}) {{ return {b} {o} {c}; }}",
    "for {a} in {b}: print({a}.{c})",
    "for (int i = 0; i < {n}; i++) {{ {a}[i] = {b}; }}",
    "if ({a} > {n}) {{ {b} = {c}; }} else {{ return null; }}",
    "let {a} = {b}.map(x => x {o} {n});",
    "import {a} from './{b}/{c}'",
    "class {a}({b}): pass",
    "const {a} = await fetch('/api/{b}/{n}');",
    "SELECT {a}, {b} FROM {c} WHERE {d} = {n};",
    "SELECT COUNT(*) FROM {a} GROUP BY {b} HAVING {c} < {n}",
    "SELECT * FROM {a} JOIN {b} ON {a}.id = {b}.{c} ORDER BY {d} DESC LIMIT {n};",
    "INSERT INTO {a} ({b}, {c}) VALUES ({n}, 'x');",
    "UPDATE {a} SET {b} = {n} WHERE {c} IS NULL",
    "DELETE FROM {a} WHERE {b} BETWEEN {n} AND 99;",
    "CREATE TABLE {a} ({b} INTEGER PRIMARY KEY, {c} TEXT, {d} REAL);",
    "Error: {a} not found ({b} {n})",
    "Error: out of memory while reading {a} (exit code {n})",
    "Exception in thread main: null pointer in {a}.{b} at line {n}",
    "warning: unused variable {a} in {b}.c:{n}",
    "panic: index {n} out of range ({a} aborted)",
    "http://{a}.org/{b}/{c}?id={n}",
    "https://{a}.net/{b}.html?{c}={n}&{d}=1",
    "www.{a}{b}.com",
    "{a}@{b}.com",
    "GET /{a}/{b}?{c}={n} HTTP/1.1 404",
    '{{"{a}": {n}, "{b}": "{c}"}}',
    "git commit -m '{a} {b}'",
    "cat {a}.txt | grep {b} | wc -l",
    "cd /usr/{a}/{b} && make {c}",
    "<div class=\"{a}\"><p>{b}</p></div>",
    "{a} = [{b}[{n}] for {b} in {c} if {d}]",
    "printf(\"%d {a}\\n\", {b});",
    "kernel: process {n} killed, signal 11 in {a}",
)


def code(rng):
    """Something a machine reads or writes: code, SQL, errors, addresses."""
    a, b, c, d = rng.sample(NAMES, 4)
    return rng.choice(CODE).format(
        a=a, b=b, c=c, d=d, n=rng.randint(0, 9999), o=rng.choice("+-*/%"), w=rng.choice((8, 32, 64))
    )


REPLIES = (
    "yes no ok maybe thanks hello goodbye never always sure fine nope sorry please stop wait what why"
    " help done true false hi great wow"
).split()


def odds_and_ends(rng):
    """Very short answers, bare numbers, punctuation, letters without sense."""
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice((str.lower, str.title, str.upper))(rng.choice(REPLIES)) + rng.choice(".!?,  ")
    if kind == 1:
        return rng.choice(("{}", "{}.", "{}%", "${}", "{} km", "No. {}")).format(rng.randint(0, 3000))
    if kind == 2:
        return " ".join(rng.choice("!?.,;:-#*+=/()%&@") * rng.randint(1, 4) for _ in range(rng.randint(1, 8)))
    if kind == 3:
        letters = "abcdefghijklmnopqrstuvwxyz"
        words = ("".join(rng.choices(letters, k=rng.randint(2, 6))) for _ in range(rng.randint(1, 6)))
        return " ".join(words)
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    words = ("{} plus {} is {}.", "{} times {} is {}.", "{} minus {} makes {}.", "{} + {} = {}")
    return rng.choice(words).format(a, b, rng.randint(0, 60))


def salad(rng, words):
    """Two to nine words that need not go together, sometimes with small words between."""
    chosen = [rng.choice(words) for _ in range(rng.randint(2, 9))]
    if rng.random() < 0.4:
        small = "the of and in a to with for is was by from on at".split()
        chosen = [w for word in chosen for w in (rng.choice(small), word)]
    return " ".join(chosen) + rng.choice(("", ".", "?"))


def own_sentences(counts, words, seed):
    """Lists by kind; `counts` says how many of each, `words` feed the salads."""
    makers = {
        "english": english,
        "foreign": foreign,
        "code": code,
        "odds": odds_and_ends,
        "salad": lambda rng: salad(rng, words),
    }
    out = []
    for name, maker in makers.items():
        rng = random.Random(f"{seed}/{name}")
        out.extend(maker(rng) for _ in range(counts[name]))
    return out
