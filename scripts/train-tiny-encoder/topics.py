"""Word lists of our own, by topic, for the sentence generator. Each topic: people (who), things
(nouns with an article), places, acts (past tense with object), traits (adjectives)."""


def _list(text):
    return [" ".join(item.split()) for item in text.split(",")]


def _topic(people, things, places, acts, traits):
    return {
        "people": _list(people),
        "things": _list(things),
        "places": _list(places),
        "acts": _list(acts),
        "traits": _list(traits),
    }


TOPICS = {
    "pets": _topic(
        "dog, puppy, cat, kitten, hamster, parrot, rabbit, pony, owner, breeder, vet, goldfish",
        "bowl, leash, collar, cage, carpet, sofa, blanket, basket, tail, fur, paw, toy mouse, bone",
        "on the sofa, in the garden, under the table, by the fireplace, in its basket, on the lawn",
        "chased a ball, barked at the postman, slept all afternoon, licked its paws, ate its food,"
        "climbed a tree, scratched the door, purred loudly, buried a bone, wagged its tail",
        "playful, furry, sleepy, hungry, black, brown, tame, loyal, tiny, noisy, gentle",
    ),
    "wildlife": _topic(
        "fox, wolf, bear, deer, eagle, owl, whale, dolphin, shark, lion, elephant, tiger, snake,"
        "frog, bee, butterfly, spider, monkey, penguin, turtle, swallow, crow, squirrel, ranger",
        "nest, den, herd, feather, wing, claw, forest, river, prey, habitat, shell, reef, swarm",
        "in the forest, across the savanna, near the river, in the deep ocean,"
        "high in the mountains",
        "hunted its prey, migrated south, built a nest, crossed the river, hid in the grass,"
        "flew over the lake, laid its eggs, followed the herd, slept through the winter",
        "wild, rare, endangered, swift, enormous, venomous, nocturnal, clever, lazy, dangerous",
    ),
    "cooking": _topic(
        "chef, cook, baker, grandmother, uncle, host, guest, food critic, butcher, housewife",
        "recipe, oven, bread, dough, yeast, flour, butter, sugar, salt, egg, soup, stew, sauce,"
        "cake,"
        "cheese, onion, garlic, tomato, potato, rice, noodle, chicken, pot, pan, knife, spoon, pie",
        "in the kitchen, at the market, over a low flame, in a hot oven, at the dinner table",
        "baked a loaf of bread, chopped the onions, stirred the soup, kneaded the dough,"
        "roasted a chicken, melted the butter, tasted the sauce, boiled the potatoes,"
        "fried two eggs,"
        "added a pinch of salt, poured the milk, whisked the cream, grilled the fish",
        "tasty, crispy, sweet, sour, spicy, fresh, burnt, homemade, delicious, bitter, warm, raw",
    ),
    "restaurant": _topic(
        "waiter, waitress, customer, diner, manager, bartender, tourist, critic, couple, regular",
        "menu, table, bill, tip, dessert, pizza, steak, burger, coffee, wine, beer, breakfast,"
        "lunch,"
        "reservation, service, meal, cafe, portion, salad, sandwich, kitchen, review",
        "at the restaurant, in the cafe, at the bar, downtown, near the harbour, on the terrace",
        "ordered a pizza, complained about the service, paid the bill, left a generous tip,"
        "sent back the steak, reserved a table, praised the food, spilled the wine, read the menu",
        "rude, friendly, charming, awful, wonderful, slow, expensive, cheap, crowded, cosy,"
        "excellent,"
        "terrible, disappointing, polite, dirty, elegant",
    ),
    "blockchain": _topic(
        "validator, miner, node operator, token holder, staker, wallet user, auditor, developer",
        "block, transaction, ledger, blockchain, smart contract, token, coin, wallet, signature,"
        "private key, hash, consensus protocol, fork, stake, reward, header, proof,"
        "crypto exchange,"
        "bridge, fee, mempool, account balance",
        "on the network, on the chain, in the next block, across the peers, on the test network",
        "signed a transaction, proposed a block, verified the proof, staked its tokens,"
        "voted on the proposal, sent some coins, lost the private key, mined a block,"
        "checked the state root, was slashed for signing twice, paid the network fee",
        "decentralised, permissioned, trustless, cryptographic, distributed, immutable, byzantine",
    ),
    "cryptography": _topic(
        "cryptographer, attacker, spy, sender, receiver, security engineer, hacker, mathematician",
        "cipher, public key, encrypted message, hash function, certificate, password,"
        "digital signature,"
        "random number, secret, protocol, salt, vulnerability, exploit, firewall, virus, malware",
        "over an insecure channel, on the server, in the log file, between two parties",
        "broke the cipher, encrypted the message, stole the password, exchanged the keys,"
        "signed the certificate, found a vulnerability, leaked the secret, patched the server",
        "secure, encrypted, secret, weak, quantum resistant, symmetric, malicious, authentic",
    ),
    "programming": _topic(
        "programmer, developer, engineer, reviewer, maintainer, intern, tester, compiler, linker",
        "function, variable, pointer, class, library, bug, compiler, stack trace, unit test, loop,"
        "thread, memory leak, garbage collector, borrow checker, exception, interface, type system,"
        "repository, commit, branch, pull request, software release, array, string, buffer",
        "in production, on the main branch, in the source code, at run time, at compile time",
        "fixed a bug, refactored the module, wrote a unit test, merged the pull request,"
        "deleted the branch, allocated memory, crashed with an error, reviewed the code,"
        "compiled the program, profiled the loop, freed the buffer, raised an exception",
        "buggy, safe, fast, deprecated, recursive, asynchronous, generic, readable, broken,"
        "portable",
    ),
    "languages of code": _topic(
        "Python, Java, Rust, Go, Haskell, C, Ruby, Lisp, Swift, the compiler, the interpreter",
        "syntax, memory safety, ownership, package manager, standard library, macro, module,"
        "runtime,"
        "iterator, closure, virtual machine, coroutine, object, inheritance, null pointer,"
        "lifetime",
        "in the language, in the standard library, on every platform, in embedded systems",
        "checks the types, guarantees memory safety, avoids data races, manages memory,"
        "runs on a virtual machine, supports generics, prevents null pointers, inlines the call",
        "statically typed, dynamic, compiled, interpreted, functional, object oriented, low level",
    ),
    "databases": _topic(
        "database administrator, analyst, data engineer, query planner, server, client, user",
        "table, row, column, index, query, primary key, join, schema, transaction log, backup,"
        "view,"
        "record, data warehouse, replica, lock, cache, storage engine, constraint",
        "in the database, on the replica, in the customers table, on disk, in the cluster",
        "inserted a row, dropped the table, created an index, ran a slow query,"
        "restored the backup,"
        "locked the table, joined two tables, sorted the records, updated the column",
        "relational, indexed, slow, corrupt, consistent, normalised, replicated, empty",
    ),
    "machine learning": _topic(
        "researcher, data scientist, student, neural network, language model, classifier, agent",
        "training data, gradient, loss function, parameter, weight, layer, learning rate,"
        "embedding,"
        "accuracy, model, integer, quantisation, optimizer, batch, dataset, prediction, feature,"
        "inference, overfitting, attention head, benchmark, label",
        "on a graphics card, in the hidden layer, on the test set, during training, at inference",
        "trained a model, minimised the loss, labelled the images, predicted the next word,"
        "overfitted the data, compressed the weights, tuned the parameters, measured the accuracy,"
        "recognised a face, translated the sentence, quantised the network",
        "deep, accurate, biased, supervised, random, large, deterministic, sparse, robust,"
        "low precision",
    ),
    "mathematics": _topic(
        "mathematician, professor, student, teacher, geometer, logician, statistician",
        "theorem, proof, equation, function, integral, derivative, matrix, vector, prime number,"
        "triangle, circle, angle, set, limit, interval, sum, square root, polynomial, group, axiom,"
        "fraction, maximum, minimum, probability, graph, sequence, inequality, lemma",
        "on the blackboard, in the textbook, in the lecture, on the real line, in the plane",
        "proved the theorem, solved the equation, computed the integral, drew a circle,"
        "multiplied two numbers, found a counterexample, divided by zero, counted the primes",
        "continuous, infinite, prime, even, odd, linear, convex, bounded, trivial, rational,"
        "positive",
    ),
    "physics": _topic(
        "physicist, scientist, experimenter, astronomer, particle, electron, photon, student",
        "atom, energy, force, mass, gravity, light, wave, quantum state, magnetic field, laser,"
        "neutron,"
        "measurement, temperature, entropy, relativity, particle accelerator, vacuum, momentum,"
        "nuclear reactor, radiation, wavelength, pressure",
        "in the laboratory, at the speed of light, in a vacuum, at low temperature, at a distance",
        "measured the spin, split the atom, cooled the gas, observed the particle, emitted light,"
        "conserved energy, bent the light, tested the theory, entangled two photons",
        "quantum, nuclear, magnetic, entangled, relativistic, thermal, massive, invisible,"
        "unstable",
    ),
    "chemistry": _topic(
        "chemist, scientist, lab assistant, student, pharmacist, teacher",
        "acid, molecule, water, salt, metal, gas, reaction, solution, catalyst, oxygen, hydrogen,"
        "carbon,"
        "glucose, boiling point, freezing point, crystal, alloy, polymer, bond, element, ion,"
        "steam",
        "in a test tube, in the laboratory, at room temperature, under high pressure, in water",
        "heated the solution, mixed the acids, froze the water, dissolved the salt, burned the gas,"
        "boiled the liquid, synthesised the compound, filtered the mixture, melted the metal",
        "liquid, solid, acidic, toxic, soluble, organic, pure, explosive, radioactive, boiling",
    ),
    "biology": _topic(
        "biologist, botanist, cell, bacterium, virus, plant, organism, geneticist, student",
        "cell, gene, protein, enzyme, leaf, root, membrane, nucleus, mitochondria, chromosome,"
        "tissue,"
        "chlorophyll, photosynthesis, sunlight, species, evolution, mutation, blood, brain, muscle,"
        "nerve, seed, flower, oxygen, metabolism, sugar, DNA, antibody",
        "in the cell, in the leaf, inside the nucleus, under the microscope, in the bloodstream",
        "produced energy, absorbed sunlight, divided in two, copied its genes, grew new leaves,"
        "stored sugar, evolved over millions of years, released oxygen, mutated rapidly",
        "living, genetic, cellular, green, microscopic, fertile, aquatic, extinct, chemical",
    ),
    "space": _topic(
        "astronaut, astronomer, pilot, engineer, cosmonaut, mission commander, NASA, the crew",
        "moon, rocket, planet, star, galaxy, orbit, satellite, telescope, spacecraft, crater,"
        "comet,"
        "black hole, Mars, Jupiter, Earth, sun, space station, lunar surface, launch, asteroid,"
        "Apollo",
        "on the moon, in orbit, on Mars, at the launch pad, in deep space, on the lunar surface",
        "walked in space, landed on the planet, launched a rocket, orbited the Earth,"
        "discovered a comet, observed the galaxy, repaired the telescope, returned to Earth",
        "lunar, distant, bright, solar, weightless, manned, cosmic, interstellar, famous",
    ),
    "weather and climate": _topic(
        "meteorologist, climate scientist, farmer, forecaster, activist, resident, sailor",
        "rain, storm, snow, flood, drought, hurricane, heat wave, wind, cloud, temperature, fog,"
        "frost,"
        "greenhouse gas, carbon emission, glacier, sea level, wildfire, global warming, season,"
        "thunder, forecast, ice, climate change",
        "in the north, along the coast, over the mountains, in the valley, across the country",
        "predicted heavy rain, destroyed the harvest, flooded the town, melted the ice,"
        "warned of the storm, raised the temperature, damaged the roofs, reduced emissions",
        "rainy, sunny, cold, extreme, stormy, dry, humid, freezing, windy, severe, warm, frequent",
    ),
    "finance": _topic(
        "banker, investor, trader, analyst, economist, central bank, broker, shareholder,"
        "treasurer,"
        "borrower, lender, policymaker, accountant",
        "interest rate, inflation, stock, bond, loan, mortgage, stock market, dividend, budget,"
        "deficit,"
        "currency, dollar, recession, crisis, profit, tax, debt, hedge fund, exchange rate,"
        "basis point,"
        "share price, economy, bank account, credit card, depression, crash, savings",
        "on Wall Street, on the stock exchange, in the quarter, at the bank, in the bond market",
        "raised interest rates, sold the shares, cut the budget, borrowed money, lost a fortune,"
        "paid a dividend, left its policy unchanged, invested in gold, surprised the analysts,"
        "printed money, defaulted on the debt, opened a savings account",
        "rising, falling, volatile, bankrupt, profitable, monetary, fiscal, risky, wealthy, steady",
    ),
    "business": _topic(
        "manager, chief executive, employee, customer, startup founder, salesman, consultant,"
        "board,"
        "supplier, competitor, regulator, pharmaceutical company, manufacturer, retailer",
        "merger, contract, company, office, headquarters, product, market, meeting, strategy,"
        "brand,"
        "acquisition, salary, workforce, factory, quarter, revenue, approval, invoice, deal,"
        "advert",
        "in the third quarter, at the head office, in Europe, at the annual meeting,"
        "in the factory",
        "signed the contract, closed the deal, hired new staff, launched a product,"
        "merged with a rival,"
        "cut a thousand jobs, moved its headquarters, reported record sales, fired the manager",
        "global, competitive, commercial, successful, corporate, annual, joint, strategic, private",
    ),
    "law": _topic(
        "judge, lawyer, defendant, jury, witness, prosecutor, police officer, thief, plaintiff,"
        "suspect,"
        "prisoner, detective, criminal, attorney",
        "court, trial, verdict, crime, fraud, sentence, prison, evidence, law, appeal, contract,"
        "murder,"
        "theft, guilt, charge, testimony, lawsuit, case, constitution, fine, bail, robbery",
        "in court, before the judge, in prison, at the police station, at the trial",
        "found him guilty, sentenced the thief, questioned the witness, broke the law,"
        "appealed the verdict, stole a car, pleaded not guilty, arrested the suspect,"
        "denied the charges",
        "guilty, innocent, illegal, criminal, fair, civil, legal, accused, convicted, corrupt",
    ),
    "medicine": _topic(
        "doctor, nurse, patient, surgeon, dentist, pharmacist, psychiatrist, child, paramedic,"
        "cardiologist",
        "heart, lung, chest pain, fever, cough, blood pressure, disease, infection, surgery,"
        "pill, vaccine,"
        "symptom, diagnosis, hospital, breath, stroke, cancer, diabetes, wound, treatment,"
        "headache,"
        "allergy, antibiotic, heart attack, x-ray, emergency room, prescription",
        "in the hospital, at the clinic, in the emergency room, during the operation, at night",
        "examined the patient, prescribed antibiotics, suffered a heart attack, had a high fever,"
        "complained of chest pain, recovered slowly, took the pills, treated the infection,"
        "was short of breath, was vaccinated, broke his leg",
        "acute, chronic, sick, healthy, contagious, painful, severe, medical, fatal, injured, pale",
    ),
    "sport": _topic(
        "player, goalkeeper, coach, referee, striker, team, runner, champion, swimmer, fan,"
        "captain,"
        "boxer, cyclist, athlete, tennis player, home side",
        "goal, match, game, league, ball, penalty, victory, defeat, world cup, medal, race,"
        "stadium, score,"
        "final, tournament, training, football, basketball, baseball, tennis, half time, record",
        "in the final minute, at the stadium, at home, in the second half, at the Olympics",
        "scored a goal, won the match, missed a penalty, lost the final, broke the record,"
        "saved a shot, ran a marathon, lifted the cup, was sent off, sealed the win,"
        "equalised late",
        "fast, unbeaten, injured, strong, lucky, professional, defensive, winning, exhausted",
    ),
    "travel": _topic(
        "tourist, traveller, passenger, driver, pilot, guide, conductor, hitchhiker, cyclist,"
        "commuter",
        "train, platform, ticket, airport, flight, hotel, map, station, bus, passport, suitcase,"
        "road,"
        "roundabout, traffic light, taxi, ferry, bridge, motorway, exit, journey, timetable,"
        "delay, car,"
        "luggage, border, street, corner, crossing",
        "at the station, at the airport, on the motorway, on platform four, at the traffic lights,"
        "in Manchester, in London, at the second exit, on weekday mornings, at quarter past eight",
        "missed the train, booked a hotel, turned left, took the bus, lost the luggage,"
        "crossed the border, departed late, arrived on time, drove north, changed at the next stop",
        "late, crowded, foreign, cheap, scenic, delayed, direct, distant, busy, local, lost",
    ),
    "geography": _topic(
        "explorer, geographer, settler, sailor, king, citizen, mayor, immigrant",
        "capital, country, city, river, mountain, island, desert, border, ocean, continent,"
        "coast, lake,"
        "valley, population, province, village, peninsula, harbour, region, map",
        "in France, in Spain, in Germany, in Africa, in Asia, in Brazil, in Italy, in Japan,"
        "in Egypt,"
        "in Europe, in Canada, in India, in Mexico, near Paris, near Berlin, near Madrid,"
        "near Rome",
        "crossed the desert, mapped the coast, climbed the mountain, founded the city,"
        "sailed around the world, moved to the capital, settled on the island",
        "southern, northern, largest, populated, mountainous, coastal, ancient, tropical, remote",
    ),
    "history": _topic(
        "king, queen, emperor, soldier, general, president, slave, knight, pharaoh, revolutionary,"
        "historian, colonist, peasant, dictator",
        "war, empire, battle, revolution, treaty, castle, century, throne, army, republic,"
        "independence,"
        "pyramid, monument, crown, invasion, colony, dynasty, archive, world war, civil war",
        "in ancient Rome, in the middle ages, in 1914, in 1945, in 1789, during the war, in Egypt",
        "conquered the city, signed the treaty, lost the battle, led the revolution,"
        "freed the slaves,"
        "declared independence, built the pyramid, invaded the country, was crowned king",
        "ancient, medieval, royal, imperial, colonial, bloody, historic, victorious, defeated",
    ),
    "literature": _topic(
        "author, poet, playwright, novelist, Shakespeare, Dickens, Homer, reader, hero, editor,"
        "lover,"
        "Hamlet, Macbeth, Jane Austen, critic, narrator, Dante",
        "novel, poem, play, tragedy, comedy, chapter, verse, library, manuscript, plot,"
        "character, sonnet,"
        "story, fairy tale, dialogue, book, publisher, prologue, epic, love story, essay",
        "in the library, in the first chapter, in Verona, in Denmark, in the last act, on the page",
        "wrote a tragedy, published a novel, recited a poem, read the book, translated the verses,"
        "died for love, reviewed the play, invented the character, told a story",
        "tragic, romantic, literary, famous, comic, poetic, classic, fictional, noble, unfinished",
    ),
    "theatre and film": _topic(
        "actor, actress, director, audience, dancer, critic, star, comedian, stuntman, producer",
        "film, stage, scene, script, movie, camera, cinema, curtain, role, rehearsal, costume,"
        "premiere,"
        "ticket, Oscar, theatre, television series, comedy, thriller, trailer, special effect",
        "on stage, in the cinema, in Hollywood, on television, behind the curtain, on the set",
        "played the villain, forgot her lines, directed the film, won an Oscar, booed the actors,"
        "bought a ticket, applauded the dancers, filmed the scene, starred in the movie",
        "dramatic, funny, boring, famous, thrilling, silent, animated, popular, scary",
    ),
    "music": _topic(
        "singer, guitarist, drummer, composer, conductor, pianist, band, orchestra, choir, Mozart",
        "song, guitar, piano, concert, melody, rhythm, album, violin, symphony, jazz, opera,"
        "trumpet,"
        "chorus, microphone, record, lyric, note, drum, radio, festival",
        "at the concert, in the studio, on the radio, at the opera, in the choir",
        "sang a song, played the guitar, recorded an album, tuned the violin, composed a symphony,"
        "danced to the music, conducted the orchestra, learned the melody",
        "loud, musical, melodic, acoustic, classical, slow, rhythmic, beautiful, off key",
    ),
    "art": _topic(
        "painter, sculptor, artist, collector, photographer, curator, designer, Picasso, model",
        "painting, portrait, sculpture, museum, canvas, brush, colour, gallery, drawing,"
        "photograph,"
        "exhibition, landscape, frame, sketch, statue, masterpiece, design",
        "in the museum, at the gallery, on the canvas, in the studio, on the wall",
        "painted a portrait, carved a statue, sold the painting, visited the museum,"
        "sketched the harbour, mixed the colours, stole a masterpiece, took a photograph",
        "abstract, modern, colourful, valuable, baroque, realistic, ugly, original, forged",
    ),
    "religion and philosophy": _topic(
        "priest, monk, philosopher, bishop, pope, rabbi, imam, prophet, Plato, Socrates,"
        "believer, nun",
        "church, prayer, soul, faith, temple, god, virtue, truth, mind, ethics, mosque,"
        "scripture, sin,"
        "question, existence, free will, suffering, fate, death, meaning, conscience, being,"
        "nothingness",
        "in the church, in the temple, in the afterlife, in the mind, at the monastery",
        "prayed for peace, questioned existence, preached a sermon, doubted everything,"
        "forgave the sinner, argued about truth, endured the suffering, meditated in silence",
        "holy, moral, divine, eternal, rational, spiritual, sacred, mortal, wise, sceptical",
    ),
    "politics": _topic(
        "president, senator, minister, voter, mayor, candidate, diplomat, journalist, protester,"
        "prime minister, parliament, opposition, ambassador",
        "election, vote, law, parliament, campaign, government, party, policy, sanction, treaty,"
        "speech,"
        "scandal, referendum, debate, reform, coalition, budget, constitution, protest, poll",
        "in parliament, in Washington, at the summit, in the election, in Brussels",
        "won the election, vetoed the bill, resigned in disgrace, gave a speech, signed the treaty,"
        "voted against the law, marched in protest, formed a coalition, promised reform",
        "democratic, conservative, liberal, corrupt, popular, foreign, federal, radical, elected",
    ),
    "war": _topic(
        "soldier, general, sniper, pilot, captain, refugee, spy, rebel, troop, sailor, veteran",
        "gun, tank, bomb, bullet, army, navy, missile, trench, bow, arrow, sword, shield, peace,"
        "ceasefire,"
        "weapon, attack, siege, border, enemy, submarine, uniform",
        "at the front, on the battlefield, behind enemy lines, at sea, in the trenches",
        "fired an arrow, attacked the fort, dropped a bomb, surrendered the city, raised his sword,"
        "took up arms, opposed the enemy, retreated at dawn, signed a ceasefire",
        "armed, wounded, brave, military, hostile, heroic, outrageous, defeated, nuclear",
    ),
    "support": _topic(
        "user, customer, administrator, support agent, subscriber, member, help desk, new employee",
        "password, account, login, email, username, website, app, error message, settings,"
        "subscription,"
        "credentials, verification code, browser, printer, phone, wifi, update, profile, refund,"
        "ticket",
        "on the website, in the app, in the settings, on my phone, at the login page,"
        "in my account",
        "forgot the password, reset the account, could not log in, changed the email address,"
        "cancelled the subscription, contacted support, updated the app, lost access,"
        "requested a refund",
        "locked, expired, invalid, wrong, new, blocked, forgotten, helpful, urgent, slow",
    ),
    "computers": _topic(
        "user, technician, gamer, system administrator, operator, secretary, server, robot",
        "computer, keyboard, screen, mouse, hard disk, memory, processor, operating system,"
        "kernel, laptop,"
        "network, router, cable, file, folder, crash, core dump, reboot, graphics card, chip,"
        "bit, machine",
        "on the desktop, in the data centre, on the hard disk, over the network, in memory",
        "crashed again, rebooted the machine, typed a command, copied the files, installed Linux,"
        "plugged in the cable, deleted the folder, opened the terminal, printed the document",
        "digital, broken, electronic, powerful, portable, obsolete, frozen, remote, identical",
    ),
    "family": _topic(
        "mother, father, sister, brother, aunt, uncle, baby, grandfather, cousin, husband, wife,"
        "daughter,"
        "son, neighbour, twin, bride, parent",
        "wedding, birthday, home, child, marriage, family, photo album, dinner, gift, childhood,"
        "divorce,"
        "nursery, letter, garden, holiday, funeral, reunion, bedroom",
        "at home, at the wedding, in the living room, on her birthday, at the family reunion",
        "visited the grandparents, married in June, raised three children, baked a birthday cake,"
        "argued with her sister, called his mother, opened the present, moved out",
        "young, married, elderly, loving, adopted, pregnant, older, single, proud, divorced",
    ),
    "feelings": _topic(
        "boy, girl, woman, man, friend, stranger, widow, teenager, lover, everybody, she, he",
        "joy, sadness, anger, fear, love, tear, smile, heart, hope, grief, jealousy, loneliness,"
        "surprise,"
        "happiness, mood, regret, pride, shame, dream, laughter",
        "today, this morning, after the funeral, at the party, all day, again, yesterday",
        "cried all night, smiled at me, laughed out loud, felt lonely, was deeply moved,"
        "broke her heart, lost all hope, jumped for joy, missed his friend, was afraid of the dark",
        "happy, sad, angry, lonely, terrified, cheerful, depressed, excited, jealous, calm,"
        "miserable,"
        "delighted, upset, glad, grateful, anxious, proud",
    ),
    "school": _topic(
        "teacher, pupil, student, professor, headmaster, librarian, classmate, tutor, graduate",
        "lesson, exam, homework, school, university, essay, grade, classroom, book, question,"
        "answer,"
        "dictionary, lecture, diploma, pencil, desk, spelling, grammar, history class, addition",
        "at school, in the classroom, at the university, in the library, before the exam",
        "passed the exam, forgot the homework, answered the question, studied all night,"
        "failed the test, taught a class, raised her hand, added the numbers,"
        "graduated with honours",
        "clever, lazy, difficult, strict, bright, wrong, correct, educated, curious",
    ),
    "house": _topic(
        "plumber, carpenter, landlord, tenant, painter, cleaner, neighbour, electrician, architect",
        "roof, door, window, floor, mat, rug, lamp, chair, wall, kitchen, bathroom, pipe, rent,"
        "stairs,"
        "curtain, mirror, shelf, fridge, bed, key, chimney, cellar, table, bucket",
        "in the basement, on the roof, on the floor, in the bathroom, upstairs, next door",
        "painted the wall, fixed the pipe, locked the door, swept the floor, sat on the chair,"
        "lay on the rug, opened the window, paid the rent, broke the lamp, built a shelf",
        "wooden, dusty, empty, spacious, comfortable, leaking, old, furnished, dark, small",
    ),
    "farming and garden": _topic(
        "farmer, gardener, shepherd, cow, sheep, pig, hen, horse, beekeeper, goat",
        "wheat, field, barn, tractor, apple, orchard, corn, milk, egg, wool, harvest, seed, rose,"
        "soil, hay,"
        "fence, tulip, vegetable, compost, vineyard, grape, plough, weed",
        "on the farm, in the field, in the orchard, in the greenhouse, behind the barn",
        "planted the seeds, milked the cows, harvested the wheat, watered the roses, fed the pigs,"
        "jumped over the fence, picked the apples, ploughed the field, sheared the sheep",
        "ripe, rural, fertile, organic, muddy, green, blooming, rotten, fresh",
    ),
    "sea": _topic(
        "sailor, captain, fisherman, diver, pirate, surfer, swimmer, lifeguard, mermaid",
        "boat, ship, sea shell, shore, wave, beach, anchor, net, sail, harbour, lighthouse, tide,"
        "fish,"
        "pearl, coral, sand, island, storm, treasure, crab, oyster",
        "at sea, on the beach, by the shore, in the harbour, under water, off the coast",
        "collected shells, caught a fish, sailed to the island, sold oysters, dived for pearls,"
        "built a sand castle, swam to the shore, sank in the storm, repaired the net",
        "salty, deep, calm, rough, sandy, blue, drowned, shallow, stormy",
    ),
    "shopping and clothes": _topic(
        "customer, shopkeeper, cashier, tailor, model, shopper, designer, thief, salesgirl",
        "dress, shirt, shoe, hat, coat, price, shop, market, discount, bag, jeans, ring, watch,"
        "receipt,"
        "supermarket, wallet, jewellery, suit, fashion, fabric, perfume, glove",
        "in the shop, at the market, in the sale, online, at the mall",
        "bought a coat, tried on the shoes, returned the dress, paid in cash, sold the ring,"
        "compared the prices, wore a hat, sewed a shirt, lost her wallet",
        "fashionable, expensive, cheap, leather, silk, second hand, elegant, tight, red",
    ),
    "time and numbers": _topic(
        "clock, calendar, accountant, child, judge, counter",
        "number, hour, minute, day, week, year, month, dozen, sum, half, quarter, total, date,"
        "second,"
        "percentage, average, century, schedule, deadline",
        "at noon, at midnight, on Monday, on Friday, in 1999, in 2020, at ten o'clock, every year",
        "counted to ten, added three and six, waited an hour, came first, stopped at noon,"
        "subtracted nine, rounded the number, doubled the amount",
        "early, late, exact, first, last, double, equal, approximate, daily, annual",
    ),
    "news and media": _topic(
        "journalist, editor, reporter, photographer, blogger, reader, spokesman, publisher",
        "newspaper, headline, interview, article, story, rumour, magazine, television, broadcast,"
        "camera,"
        "advertisement, opinion, podcast, source, front page, social media, comment, video",
        "on the front page, on television, on the internet, in the evening news, on social media",
        "reported the news, interviewed the minister, denied the rumour, published the story,"
        "posted a video, leaked the documents, wrote an article, quoted the source",
        "false, viral, breaking, popular, anonymous, official, local, biased, sensational",
    ),
    "engineering": _topic(
        "engineer, mechanic, architect, builder, inventor, electrician, driver, pilot, welder",
        "engine, bridge, motor, wheel, battery, pump, steel, crane, tunnel, dam, brake, gear,"
        "circuit,"
        "power plant, solar panel, wind turbine, aircraft, truck, car, voltage, screw,"
        "powerhouse, fuel",
        "in the workshop, on the building site, at the power station, in the engine room",
        "repaired the engine, built a bridge, charged the battery, tested the brakes,"
        "designed the circuit, welded the pipes, drilled a tunnel, generated electricity",
        "electric, mechanical, heavy, broken, efficient, hydraulic, steel, noisy, automatic",
    ),
}
