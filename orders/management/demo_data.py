"""The demo's shop, *Meridian Outfitters*: 24 products and 20 customers, the same every time. All e-mail addresses are reserved examples."""

from typing import NamedTuple

from orders.money import minor_per_unit


class DemoProduct(NamedTuple):
    """``price_cents``: hundredths of the shop's currency, whichever it is; ``on_hand`` pieces in the one warehouse."""

    sku: str
    name: str
    price_cents: int
    on_hand: int = 100_000

    def price_minor(self, currency: str) -> int:
        """The same figure in each currency, rounded up to its minor unit: €9.95, ¥10, KWD 9.950."""
        return -(-self.price_cents * minor_per_unit(currency) // 100)


class DemoCustomer(NamedTuple):
    name: str
    email: str
    line1: str
    city: str
    postal_code: str
    country: str
    state: str = ""


PRODUCTS = (
    DemoProduct("TENT-2P-GRN", "Two-person tent, green", 18_900),
    DemoProduct("TENT-4P-SND", "Four-person tent, sand", 32_900),
    DemoProduct("BAG-0C-DOWN", "Down sleeping bag, 0 °C", 21_500),
    DemoProduct("BAG-10C-SYN", "Synthetic sleeping bag, 10 °C", 8_900),
    DemoProduct("MAT-SELF-R3", "Self-inflating mat", 6_450),
    DemoProduct("MAT-FOAM-10", "Foam mat", 1_999),
    DemoProduct("STOVE-GAS-1", "Gas stove", 4_495),
    DemoProduct("POT-TI-900", "Titanium pot, 900 ml", 5_250),
    DemoProduct("MUG-ENAMEL", "Enamel mug", 1_250),
    DemoProduct("SPORK-TI", "Titanium spork", 995),
    DemoProduct("FILTER-WTR", "Water filter", 3_995),
    DemoProduct("BOTTLE-1L", "Steel bottle, one litre", 2_450),
    DemoProduct("PACK-45-BLU", "Rucksack 45 l, blue", 14_900),
    DemoProduct("PACK-65-BLK", "Rucksack 65 l, black", 19_900),
    DemoProduct("DRYBAG-20", "Dry bag, 20 l", 2_150),
    DemoProduct("LAMP-HEAD", "Head torch", 4_990),
    DemoProduct("LAMP-CAMP", "Camp lantern", 3_490),
    DemoProduct("POLES-CARB", "Carbon trekking poles", 11_900),
    DemoProduct("JACKET-RAIN", "Rain jacket", 15_900),
    DemoProduct("SOCKS-WOOL", "Merino socks", 1_790),
    DemoProduct("MAP-KERRY", "Map of the Kerry Way", 1_495),
    DemoProduct("KIT-FIRST", "First-aid kit", 2_995),
    DemoProduct("OUT-OF-STOCK", "Brass compass (sold out)", 5_900, 0),
    DemoProduct("LAST-ONE", "Storm lantern (the last one)", 7_900, 1),
)

_PEOPLE = (
    ("Amara Okafor", "12 Harbour Rd", "Cork", "T12 X7YZ", "IE"),
    ("Lukas Weber", "Lindenstr. 8", "Berlin", "10969", "DE"),
    ("Chloé Martin", "4 rue des Lilas", "Lyon", "69003", "FR"),
    ("Giulia Rossi", "Via Verdi 21", "Torino", "10124", "IT", "TO"),
    ("Mateo García", "Calle Sol 5", "Sevilla", "41001", "ES", "Sevilla"),
    ("Sanne de Vries", "Kade 77", "Utrecht", "3511 AB", "NL"),
    ("Freja Nielsen", "Havnegade 3", "Aarhus", "8000", "DK"),
    ("Elsa Lindqvist", "Storgatan 19", "Umeå", "90325", "SE"),
    ("Aino Virtanen", "Rantatie 6", "Oulu", "90100", "FI"),
    ("Katarzyna Nowak", "ul. Długa 14", "Kraków", "31-147", "PL"),
    ("Jakub Novák", "Na Kopci 2", "Brno", "60200", "CZ"),
    ("Zsófia Kovács", "Fő utca 31", "Győr", "9021", "HU"),
    ("Eleni Papadopoulou", "Odos Ermou 9", "Patras", "26221", "GR"),
    ("João Silva", "Rua Nova 40", "Porto", "4050-345", "PT"),
    ("Maeve Byrne", "2 Quay St", "Galway", "H91 A1B2", "IE"),
    ("Thomas Gruber", "Ringweg 11", "Graz", "8010", "AT"),
    ("Nora Peeters", "Kerkstraat 52", "Gent", "9000", "BE"),
    ("Luka Horvat", "Ulica Lipa 7", "Zagreb", "10000", "HR"),
    ("Mila Petrova", "ul. Vitosha 18", "Sofia", "1000", "BG"),
    ("Andrei Ionescu", "Str. Teilor 25", "Cluj-Napoca", "400001", "RO"),
)
CUSTOMERS = tuple(
    DemoCustomer(name, f"customer{number:02d}@example.com", *address) for number, (name, *address) in enumerate(_PEOPLE, start=1)
)
