"""The small application whose database the server holds.

Its tables, its roles, and its words in other runs.
"""

import random
import re
from collections.abc import Mapping

from server import SECRET, Server

TABLES = """
CREATE TABLE customers (id serial PRIMARY KEY, email text UNIQUE NOT NULL,
  name varchar(40) NOT NULL, city text, created timestamptz DEFAULT now());
CREATE TABLE products (id serial PRIMARY KEY, sku text UNIQUE NOT NULL, title text,
  price numeric CHECK (price > 0), stock int CHECK (stock >= 0));
CREATE SEQUENCE order_number;
CREATE TABLE orders (id bigint PRIMARY KEY DEFAULT nextval('order_number'),
  customer_id int NOT NULL REFERENCES customers, status text DEFAULT 'new',
  placed timestamptz DEFAULT now());
CREATE TABLE order_items (id bigserial PRIMARY KEY, order_id bigint REFERENCES orders,
  product_id int REFERENCES products,
  quantity int CHECK (quantity > 0));
CREATE TABLE payments (id serial PRIMARY KEY, order_id bigint REFERENCES orders, amount numeric,
  method text, reference text UNIQUE);
CREATE TABLE carts (id serial PRIMARY KEY, customer_id int REFERENCES customers, content jsonb,
  touched timestamptz DEFAULT now());
CREATE TABLE visits (id bigserial PRIMARY KEY, customer_id int, page text, seconds int,
  at timestamptz DEFAULT now());
CREATE TABLE searches (id bigserial PRIMARY KEY, customer_id int, words text, hits int,
  at timestamptz DEFAULT now());
CREATE TABLE invoices (id serial PRIMARY KEY, order_id bigint, body text) TABLESPACE attic;
CREATE TABLE attachments (id serial PRIMARY KEY, customer_id int, body text) TABLESPACE attic;
CREATE TABLE salaries (id serial PRIMARY KEY, employee text, amount numeric);
CREATE TABLE credentials (id serial PRIMARY KEY, customer_id int, hash text);
CREATE TABLE coupons (id serial PRIMARY KEY, code text UNIQUE, customer_id int, worth numeric);
CREATE TABLE reviews (id serial PRIMARY KEY, product_id int, customer_id int,
  stars int CHECK (stars BETWEEN 1 AND 5), body text);
CREATE TABLE shipments (id serial PRIMARY KEY, order_id bigint, carrier text, tracking text,
  weight numeric);
CREATE FUNCTION worth_of(who int) RETURNS numeric LANGUAGE sql
  AS 'SELECT sum(worth) FROM coupons WHERE customer_id = who';
CREATE INDEX visits_customer_id_idx ON visits (customer_id);
CREATE INDEX searches_customer_id_idx ON searches (customer_id);
INSERT INTO customers (email, name, city) SELECT 'user' || n || '@example.com', 'Customer ' || n,
  (ARRAY['Lund','Graz','Porto','Ghent'])[1 + n % 4] FROM generate_series(1, 4000) n;
INSERT INTO products (sku, title, price, stock)
  SELECT 'SKU-' || n, 'Product ' || n, 1 + n % 90, 100000 FROM generate_series(1, 800) n;
INSERT INTO orders (customer_id, status)
  SELECT 1 + n % 4000, (ARRAY['new','paid','sent'])[1 + n % 3] FROM generate_series(1, 9000) n;
INSERT INTO order_items (order_id, product_id, quantity)
  SELECT 1 + n % 9000, 1 + n % 800, 1 + n % 4 FROM generate_series(1, 18000) n;
INSERT INTO payments (order_id, amount, method, reference)
  SELECT n, n % 200, 'card', 'PAY-' || n FROM generate_series(1, 6000) n;
INSERT INTO carts (customer_id, content) SELECT n, '{}' FROM generate_series(1, 1500) n;
INSERT INTO visits (customer_id, page, seconds)
  SELECT 1 + n % 4000, '/p/' || n % 800, n % 300 FROM generate_series(1, 160000) n;
INSERT INTO searches (customer_id, words, hits)
  SELECT 1 + n % 4000, md5(n::text), n % 50 FROM generate_series(1, 160000) n;
INSERT INTO coupons (code, customer_id, worth) SELECT 'C' || n, n, 5 FROM generate_series(1, 500) n;
INSERT INTO reviews (product_id, customer_id, stars, body)
  SELECT 1 + n % 800, 1 + n % 4000, 1 + n % 5, md5(n::text) FROM generate_series(1, 3000) n;
INSERT INTO shipments (order_id, carrier, tracking, weight)
  SELECT n, 'post', md5(n::text), 1 FROM generate_series(1, 3000) n;
"""
"""Everything is made up; addresses end in example.com."""

LIBRARY = """
shop library  customers members  customer_id member_id  products titles  product_id title_id
sku isbn  title heading  price fee  stock copies  orders loans  order_number loan_number
order_id loan_id  order_items loan_parts  quantity volumes  payments fines  reference receipt
method paid_by  carts shelves  content picks  visits page_views  page address
searches catalogue_queries  words terms  invoices reminders  attachments scans  salaries wages
employee librarian  credentials secrets  coupons vouchers  code token  reviews ratings
stars points  shipments deliveries  carrier courier  tracking label  placed borrowed
touched changed  shop_web lib_portal  shop_worker lib_jobs  shop_report lib_stats
shop_api lib_gateway  deploy release  monitor checks  anna fatima  boris george  chen helga
diego ivan  amount sum_due  city town  checkout-service portal-server  order-worker loan-daemon
nightly-report statistics-run  mobile-api gateway  visits_customer_id_idx page_views_member_idx
searches_customer_id_idx queries_member_idx  attic cellar
"""
BAKERY = """
shop baeckerei  customers kunden  customer_id kunde_id  products waren  product_id ware_id
sku artikel  title bezeichnung  price preis  stock bestand  orders bestellungen
order_number bestellnummer  order_id bestell_id  order_items posten  quantity menge
payments zahlungen  reference beleg  method zahlart  carts koerbe  content inhalt  visits besuche
page seite  searches suchen  words begriffe  invoices rechnungen  attachments anlagen
name bezeichner  salaries gehaelter  employee angestellte  credentials kennungen
coupons gutscheine  code nummer  reviews bewertungen  stars sterne  shipments lieferungen
carrier spedition  tracking sendung  placed bestellt  touched angefasst  shop_web laden_web
shop_worker laden_dienst  shop_report laden_bericht  shop_api laden_api  deploy technik
monitor wache  anna greta  boris jonas  chen lena  diego karl  amount betrag  city ort
checkout-service kasse  order-worker auftragsdienst  nightly-report nachtbericht  mobile-api mobil
attic speicher
"""
CLINIC = """
shop clinic  customers patients  customer_id patient_id  products remedies  product_id remedy_id
sku pzn  title label  price charge  stock doses  orders appointments
order_number appointment_number  order_id appointment_id  order_items treatments  quantity units
payments bills  reference file_number  method settled_by  carts waiting_lists  content entries
visits portal_calls  page screen  searches record_queries  words keywords  invoices letters
attachments findings  salaries duty_pay  employee nurse  credentials logins  coupons referrals
code slip  reviews surveys  stars grade  shipments specimens  carrier laboratory  tracking barcode
placed arranged  touched seen  shop_web clinic_portal  shop_worker clinic_queue
shop_report clinic_report  shop_api clinic_app  deploy rollout  monitor watch  anna olga
boris peter  chen yusuf  diego marta  amount total  city district  checkout-service patient-portal
order-worker lab-worker  nightly-report ward-report  mobile-api nurse-app  attic archive_space
"""
HOTEL = """
shop hotel  customers guests  customer_id guest_id  products rooms  product_id room_id  sku door
title room_name  price rate  stock nights  orders bookings  order_number booking_number
order_id booking_id  order_items booked_rooms  quantity persons  payments deposits
reference voucher_code  method channel  carts offers  content draft  visits site_hits  page path
searches availability_queries  words wishes  invoices folios  attachments scans  salaries wages
employee porter  credentials keys_held  coupons discounts  code promo  reviews opinions
stars points  shipments transfers  carrier driver  tracking plate  placed booked  touched edited
shop_web front_desk  shop_worker housekeeping  shop_report revenue  shop_api channel_manager
deploy migrations  monitor probe  anna lucia  boris marco  chen akiko  diego pablo
amount sum_paid  city country  checkout-service booking-engine  order-worker cleaning-plan
nightly-report audit-run  mobile-api ota-sync  attic cold_store
"""
VOCABULARIES: Mapping[str, str] = {
    "shop": "",
    "library": LIBRARY,
    "bakery": BAKERY,
    "clinic": CLINIC,
    "hotel": HOTEL,
}
ROLES = (
    "shop_web",
    "shop_worker",
    "shop_api",
    "shop_report",
    "deploy",
    "monitor",
    "anna",
    "boris",
    "chen",
    "diego",
    "bench",
    "replicator",
    "backup",
)
ANALYSTS = ("anna", "boris", "chen", "diego")


class Application:
    """One application on one server, in the words of its run."""

    def __init__(self, server: Server, *, vocabulary: str, seed: int) -> None:
        self.server = server
        words = VOCABULARIES[vocabulary].split()
        self.words = dict(zip(words[::2], words[1::2], strict=True))
        names = sorted(self.words, key=len, reverse=True)
        self._names = re.compile(rf"\b(?:{'|'.join(names)})\b") if names else None
        self.database = self.say("shop")
        self.random = random.Random(seed)

    def say(self, text: str) -> str:
        """A text with the names that this run gives to tables, columns and roles."""
        return (
            self._names.sub(lambda found: self.words[found.group()], text) if self._names else text
        )

    def install(self) -> None:
        """Make roles, tables and rows."""
        rule, say = self.server.rule, self.say
        for role in ROLES:
            limits = "REPLICATION LOGIN" if role == "replicator" else "LOGIN"
            rule(f"CREATE ROLE {say(role)} {limits} PASSWORD '{SECRET}'")
        rule(
            f"CREATE TABLESPACE {say('attic')} LOCATION '{self.server.root}/full-attic'",
            f"CREATE TABLESPACE scratch LOCATION '{self.server.root}/full-scratch'",
        )
        rule(
            "GRANT CREATE ON TABLESPACE scratch TO PUBLIC",
            say("GRANT CREATE ON TABLESPACE attic TO PUBLIC"),
        )
        rule(f"CREATE DATABASE {self.database}", "CREATE DATABASE bench OWNER bench")
        services = say("shop_web, shop_worker, shop_api")
        rule(
            say(TABLES),
            say(
                f"GRANT USAGE, CREATE ON SCHEMA public TO {services}, shop_report, deploy, anna,"
                " boris, chen, diego"
            ),
            say(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {services}"
            ),
            say(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {services}"),
            say(
                "GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_report, anna, boris, chen,"
                " diego, deploy, backup"
            ),
            say(
                "REVOKE SELECT ON salaries, credentials FROM anna, boris, chen, diego, shop_report,"
                " shop_web, shop_api, shop_worker"
            ),
            say("GRANT pg_monitor TO monitor"),
            *(
                say(f"ALTER TABLE {table} OWNER TO deploy")
                for table in (
                    "products",
                    "carts",
                    "reviews",
                    "shipments",
                    "coupons",
                    "searches",
                    "visits",
                    "payments",
                )
            ),
            "ANALYZE",
            database=self.database,
        )
        for role, settings in LIMITS.items():
            rule(*(f"ALTER ROLE {say(role)} SET {setting}" for setting in settings))


LIMITS = {
    "shop_web": ("statement_timeout = '700ms'", "lock_timeout = '500ms'"),
    "shop_api": ("statement_timeout = '700ms'", "lock_timeout = '500ms'"),
    "shop_worker": ("statement_timeout = '1500ms'",),
    "shop_report": ("statement_timeout = '900ms'", "work_mem = '1MB'", "temp_file_limit = '12MB'"),
    "deploy": ("log_statement = 'ddl'", "lock_timeout = '300ms'"),
    "anna": ("log_statement = 'all'", "statement_timeout = '2s'"),
    "boris": ("log_statement = 'all'", "statement_timeout = '2s'"),
    "chen": ("log_statement = 'all'", "idle_in_transaction_session_timeout = '3s'"),
    "diego": (
        "log_statement = 'mod'",
        "statement_timeout = '2s'",
        "log_min_duration_statement = 0",
    ),
}
"""What the roles' sessions are held to. Every service has its own limits, as a careful
administrator sets them."""
