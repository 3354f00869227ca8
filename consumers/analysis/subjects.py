"""The broad subjects of news: a topic has to beat them to be what a text is about, and they are its categories."""

from typing import NamedTuple


class Subject(NamedTuple):
    """A subject with the category that readers see and words that belong to it."""

    name: str
    category: str
    words: str


SUBJECTS: tuple[Subject, ...] = tuple(
    Subject(*line.split(" | "))
    for line in """\
politics | Politics | government, parliament, minister, party, election, vote, president, policy, opposition, coalition
diplomacy | World | foreign minister, United Nations, summit, treaty, embassy, ambassador, sanctions, talks, bilateral
war and conflict | World | war, troops, missile, military, army, ceasefire, attack, killed, soldiers, invasion, drone strike
disasters and weather | World | earthquake, flood, storm, hurricane, wildfire, rescue, evacuated, rain, landslide, victims
migration | World | migrants, refugees, asylum, border, deportation, visa, immigration, displaced
crime | Crime & justice | police, murder, arrested, suspect, shooting, prison, stabbing, robbery, victim, charged
law and courts | Crime & justice | court, judge, lawsuit, ruling, lawyer, trial, appeal, prosecutors, verdict, jury
companies | Business | company, profit, sales, chief executive, takeover, shareholders, quarterly results, firm, retailer
markets and economy | Economy & finance | shares, stocks, investors, inflation, interest rates, central bank, bonds, economy, growth, GDP
jobs and housing | Economy & finance | workers, unemployment, strike, wages, house prices, mortgage, rent, tenants, pension
cryptocurrency | Economy & finance | bitcoin, crypto, token, blockchain, exchange, wallet, stablecoin, Ethereum
consumer technology | Technology | smartphone, laptop, iPhone, Android, headphones, gadget, screen, battery, app, camera, review
internet and social media | Technology | social media, platform, users, Facebook, YouTube, TikTok, posts, moderation, influencer, broadband
artificial intelligence | Artificial intelligence | machine learning, language model, neural network, chatbot, training data, agents, GPT, inference
programming | Programming | code, developer, function, compiler, library, git, API, bug, release, framework, open source, database
infrastructure | Programming | server, Kubernetes, cloud, deployment, container, cluster, latency, network, monitoring, storage
computer security | Security | vulnerability, malware, ransomware, hackers, exploit, patch, breach, phishing, encryption, attackers
video games | Gaming | game, player, console, PlayStation, Xbox, Nintendo, multiplayer, quest, gameplay, trailer
physics and mathematics | Science | particle, quantum, theorem, equation, experiment, physicists, neutrino, proof, algebra
biology and nature | Science | species, cells, gene, DNA, evolution, animals, wildlife, fossil, protein, bacteria
space | Science | rocket, orbit, satellite, NASA, astronaut, telescope, planet, galaxy, launch, moon
medicine | Health | patients, hospital, disease, treatment, doctors, vaccine, clinical trial, drug, cancer, virus
mind and fitness | Health | diet, exercise, sleep, anxiety, depression, therapy, weight loss, stress, wellbeing
climate and environment | Climate & energy | climate change, emissions, carbon, warming, pollution, biodiversity, forest, greenhouse gas
energy | Climate & energy | electricity, solar, wind farm, grid, oil, natural gas, nuclear plant, battery storage, pipeline
cars and transport | Transport | car, electric vehicle, train, airline, aircraft, passengers, road, driver, railway, airport
football | Sport | football, goal, striker, league, club, manager, midfielder, penalty, transfer, cup
other sports | Sport | tennis, cricket, rugby, basketball, Olympics, medal, race, championship, match, innings, coach
film and television | Culture | film, actor, director, series, episode, Netflix, Hollywood, box office, cinema, Oscar
music | Culture | album, band, song, singer, concert, tour, guitar, rapper, Grammy, festival
books and arts | Culture | novel, author, museum, exhibition, painting, artist, poetry, theatre, literature, history
food and travel | Lifestyle | recipe, restaurant, chef, cook, wine, hotel, beach, tourists, flavour, holiday
fashion and home | Lifestyle | fashion, dress, makeup, skincare, garden, furniture, decor, knitting, brand, style
family and everyday life | Lifestyle | parents, baby, children, marriage, wedding, friends, dating, pets, diary, weekend
education | Education | school, students, teachers, university, pupils, exam, curriculum, college, classroom
religion | Society | church, pope, bishop, Muslim, faith, prayer, Christian, mosque, Jewish, priest
design and websites | Technology | design, typography, CSS, layout, user interface, website, logo, colour, font, HTML
marketing and management | Business | brand, marketing, customers, startup, founder, leadership, team, productivity, advertising, SEO
hardware and chips | Technology | chip, GPU, processor, Nvidia, Intel, semiconductor, memory, motherboard, wafer, circuit board
""".splitlines()
)
