BEGIN TRANSACTION;
CREATE TABLE logllm_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT logllm_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "logllm_version" VALUES('0001');
CREATE TABLE places (
	stream TEXT NOT NULL, 
	partition TEXT NOT NULL, 
	epoch BIGINT NOT NULL, 
	low BIGINT NOT NULL, 
	place TEXT NOT NULL, 
	counters TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	updated TEXT NOT NULL, 
	PRIMARY KEY (stream, partition)
);
INSERT INTO "places" VALUES('app','p',1,2,'{"offset":90}','{"records":4}','host:1','2026-11-27T12:00:00.000000Z');
INSERT INTO "places" VALUES('app','q',1,2,'{"offset":30}','{}','host:1','2026-11-27T12:00:00.000000Z');
CREATE TABLE spans (
	stream TEXT NOT NULL, 
	partition TEXT NOT NULL, 
	home TEXT NOT NULL, 
	session TEXT NOT NULL, 
	piece INTEGER NOT NULL, 
	first_position BIGINT NOT NULL, 
	last_position BIGINT NOT NULL, 
	PRIMARY KEY (stream, partition, home, session, piece, first_position)
);
INSERT INTO "spans" VALUES('app','p','p','c',1,4,4);
INSERT INTO "spans" VALUES('app','q','p','c',1,4,1);
CREATE TABLE verdicts (
	stream TEXT NOT NULL, 
	partition TEXT NOT NULL, 
	session TEXT NOT NULL, 
	piece INTEGER NOT NULL, 
	first_position BIGINT NOT NULL, 
	last_position BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	score FLOAT NOT NULL, 
	anomalous BOOLEAN NOT NULL, 
	lines TEXT NOT NULL, 
	files TEXT, 
	evidence TEXT, 
	start TEXT, 
	"end" TEXT, 
	model TEXT NOT NULL, 
	cut TEXT, 
	more TEXT, 
	texts TEXT, 
	updated TEXT NOT NULL, 
	PRIMARY KEY (stream, partition, session, piece, first_position)
);
INSERT INTO "verdicts" VALUES('app','p','a',1,1,3,'closed',0.75,1,'[1,3]',NULL,'[{"line":3,"score":0.7,"text":"disk failed"}]','2026-11-27T12:00:00.000000Z','2026-11-27T12:00:00.000000Z','runs/app',NULL,'{"p":0.01}','["started","disk failed"]','2026-11-27T12:00:00.000000Z');
INSERT INTO "verdicts" VALUES('app','p','c',1,4,4,'early',0.25,0,'[4,1]','["p","q"]',NULL,'2026-11-27T12:00:00.000000Z','2026-11-27T12:00:00.000000Z','runs/app','start',NULL,NULL,'2026-11-27T12:00:00.000000Z');
INSERT INTO "verdicts" VALUES('app','p','b',1,2,2,'open',0.25,0,'[2]',NULL,NULL,NULL,NULL,'runs/app',NULL,NULL,NULL,'2026-11-27T12:00:00.000000Z');
CREATE INDEX verdicts_newest ON verdicts (stream, updated);
CREATE INDEX verdicts_positions ON verdicts (stream, partition, last_position);
CREATE INDEX verdicts_anomalous ON verdicts (stream, updated) WHERE anomalous;
CREATE INDEX verdicts_open ON verdicts (stream, updated) WHERE state = 'open';
CREATE INDEX spans_positions ON spans (stream, partition, last_position);
COMMIT;
