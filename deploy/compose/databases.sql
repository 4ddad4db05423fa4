-- The databases of docker-compose.yml and their users, made once when PostgreSQL's volume is new. psql runs it.
\getenv state_password STATE_PASSWORD
\getenv liquidlogic_password LIQUIDLOGIC_PASSWORD
\getenv reader_password READER_PASSWORD

-- Ironbridge's state: its owner makes and alters the tables.
CREATE ROLE state LOGIN PASSWORD :'state_password';
CREATE DATABASE state OWNER state;
REVOKE ALL ON DATABASE state FROM PUBLIC;

-- The legacy system: its owner fills it, the reader is who Ironbridge signs in as and can only read.
CREATE ROLE liquidlogic LOGIN PASSWORD :'liquidlogic_password';
CREATE ROLE liquidlogic_reader LOGIN PASSWORD :'reader_password';
CREATE DATABASE liquidlogic OWNER liquidlogic;
REVOKE ALL ON DATABASE liquidlogic FROM PUBLIC;
GRANT CONNECT ON DATABASE liquidlogic TO liquidlogic_reader;

\connect liquidlogic
ALTER DEFAULT PRIVILEGES FOR ROLE liquidlogic GRANT USAGE ON SCHEMAS TO liquidlogic_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE liquidlogic GRANT SELECT ON TABLES TO liquidlogic_reader;
