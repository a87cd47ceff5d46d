# Statements made at random, the same with and without the batch node: rows, errors, what triggers and functions log, and in
# which order.  test/sql/batch.sql has the plans; here are cursors, writes, loops and their mixtures.
use strict;
use warnings;
use Fsi;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = fsi_node('statements', "jit = off\nsession_preload_libraries = 'fsi_intent'");
$node->safe_psql('postgres', 'CREATE EXTENSION fsi_intent');

# Made anew for each script, so that no dead rows of another one tell where new ones go.
my $tables = <<'SQL';
CREATE SEQUENCE turn;
CREATE TABLE log (n int DEFAULT nextval('turn'), what text);
CREATE TABLE m (id int PRIMARY KEY, txt text, k int, own text[], answer text);
CREATE TABLE o (id int, txt text, k int, own text[], intent text GENERATED ALWAYS AS (fsi_classify(txt, ARRAY['refund', 'weather'])) STORED);
CREATE TABLE p (id int, txt text, k int, own text[]) PARTITION BY LIST (k);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0);
CREATE TABLE px PARTITION OF p DEFAULT;
CREATE FUNCTION noted(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (t); RETURN t || nextval('turn') % 3; END $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO log (what) VALUES (TG_OP || NEW.id || coalesce(fsi_classify(NEW.txt, ARRAY['refund', 'weather']), '-'));
	RETURN CASE WHEN NEW.id % 10 <> 9 THEN NEW END;
END $$;
CREATE FUNCTION note_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO log (what) SELECT TG_OP || id FROM changed WHERE fsi_classify(txt, ARRAY['refund', 'weather']) = 'refund';
	RETURN NULL;
END $$;
INSERT INTO m SELECT g, CASE g % 7 WHEN 0 THEN NULL WHEN 1 THEN 'where is order ' || g WHEN 2 THEN 'is it raining?' WHEN 3 THEN 'I want my money back ' || g
	WHEN 4 THEN '我要退款' || g ELSE 'weather ' || g END, g % 3, CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN ARRAY['refund', 'weather'] ELSE ARRAY['x' || g, 'y'] END
FROM generate_series(1, 40) g;
INSERT INTO o SELECT id, left(txt, 9), k, own FROM m WHERE id % 2 = 0 OR id < 9;
INSERT INTO p SELECT id, txt, k, own FROM m;
CREATE TRIGGER a BEFORE INSERT OR UPDATE ON m FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER b AFTER UPDATE ON m REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_all();
SQL

sub any { return $_[ rand @_ ] }
my $volatile;	# whether a statement may note what it does

sub call
{
	my ($depth, @of) = @_;
	my $options = any('', '', '', q{, '{"other": "none"}'}, ", jsonb_build_object('min_score', " . any(@of) . '.id % 9 / 10.0)');
	return 'fsi_classify(' . txt($depth + 1, @of) . ', ' . any("ARRAY['refund', 'track order', 'weather']", "ARRAY['a', 'b']", any(@of) . '.own') . "$options)";
}

sub txt
{
	my ($depth, @of) = @_;
	my $n = rand;
	return any(@of) . '.txt' if $depth > 3 || $n < 0.3;
	return call($depth, @of) if $n < 0.65;
	return txt($depth + 1, @of) . ' || ' . any(@of) . '.id' if $n < 0.7;
	return 'coalesce(' . txt($depth + 1, @of) . ', ' . txt($depth + 1, @of) . ')' if $n < 0.75;
	return 'CASE WHEN ' . test($depth + 1, @of) . ' THEN ' . txt($depth + 1, @of) . " ELSE 'rain' END" if $n < 0.8;
	return 'noted(' . txt($depth + 1, @of) . ')' if $n < 0.85 && $volatile;
	return '(SELECT max(' . txt($depth + 2, "s$depth", @of) . " || s$depth.id) FROM " . any(qw(m o p)) . " s$depth WHERE s$depth.id <= " . any(@of) . '.id)' if $n < 0.9;
	return 'upper(' . txt($depth + 1, @of) . ')';
}

sub test
{
	my ($depth, @of) = @_;
	my $n = rand;
	return any(@of) . '.id % ' . any(2, 3) . ' = ' . any(0, 1) if $depth > 3 || $n < 0.3;
	return call($depth, @of) . any(q{ = 'refund'}, q{ <> 'weather'}, q{ IS DISTINCT FROM 'y'}) if $n < 0.7;
	return '(' . test($depth + 1, @of) . any(' AND ', ' OR ') . test($depth + 1, @of) . ')' if $n < 0.85;
	return 'EXISTS (SELECT FROM ' . any(qw(m o p)) . " e$depth WHERE e$depth.id = " . any(@of) . ".id AND " . test($depth + 2, "e$depth", @of) . ')';
}

sub query
{
	my ($depth) = @_;
	my ($from, @of) = (any(qw(m o p)) . " t$depth", "t$depth");
	($from, @of) = ('(' . query($depth + 1) . ") q$depth", "q$depth") if $depth < 2 && rand() < 0.4;
	($from, @of) = ("$from " . any('JOIN', 'LEFT JOIN') . ' ' . any(qw(m o p)) . " j$depth ON j$depth.id = $of[0].id" . any('', ' AND ' . test(2, @of, "j$depth")),
		@of, "j$depth") if rand() < 0.3;
	my $where = any('', ' WHERE ' . test(1, @of));
	return "SELECT min($of[0].id) AS id, " . txt(1, @of) . " AS txt, count(*)::int AS k, ARRAY['a', 'b'] AS own FROM $from$where GROUP BY 2 ORDER BY 1" if rand() < 0.15;
	return "SELECT $of[0].id, max(" . txt(1, @of) . ") OVER (PARTITION BY $of[0].k ORDER BY $of[0].id) AS txt, $of[0].k, $of[0].own FROM $from$where" if rand() < 0.15;
	return "SELECT $of[0].id, " . txt(1, @of) . " AS txt, $of[0].k, $of[0].own FROM $from$where" . any('', " ORDER BY $of[0].id") . any('', '', ' LIMIT ' . any(0 .. 9));
}

my $cursors = 0;

sub statements
{
	my $n = rand;
	$volatile = rand() < 0.5;
	return query(0) if $n < 0.2;
	return 'UPDATE m SET txt = ' . txt(1, 'm', 's') . ', answer = ' . call(1, 's') . ' FROM (' . query(1) . ') s WHERE s.id = m.id AND ' . test(1, 'm', 's') .
		' RETURNING m.id, m.txt, answer, ' . call(2, 'm') if $n < 0.35;
	return 'UPDATE p SET k = length(' . txt(1, 'p') . ') % 2, txt = ' . txt(1, 'p') . ' WHERE ' . test(1, 'p') . ' RETURNING id, txt, k, tableoid::regclass' if $n < 0.45;
	return 'INSERT INTO m (id, txt, k, own) SELECT DISTINCT ON (id % 90) id % 90, txt, k, own FROM (' . query(1) . ') s ORDER BY id % 90, txt' .
		' ON CONFLICT (id) DO UPDATE SET txt = ' . txt(2, 'm', 'excluded') . ' WHERE ' . test(2, 'm') . ' RETURNING id, txt' if $n < 0.55;
	return 'MERGE INTO o USING (SELECT DISTINCT ON (id) * FROM (' . query(1) . ') s ORDER BY id, txt) s ON s.id = o.id' .
		' WHEN MATCHED AND ' . test(2, 'o', 's') . ' THEN UPDATE SET txt = ' . txt(2, 'o', 's') .
		' WHEN MATCHED AND ' . test(2, 's') . ' THEN DELETE WHEN NOT MATCHED THEN INSERT (id, txt) VALUES (s.id + 100, ' . call(2, 's') . ')' if $n < 0.65;
	return 'DO $$ DECLARE r record; BEGIN FOR r IN ' . query(0) . q( LOOP
		BEGIN UPDATE m SET answer = fsi_classify(r.txt || m.txt, ARRAY['refund', 'x']) WHERE id = r.id;
			IF r.id % 3 = 0 THEN RAISE 'x'; END IF; EXCEPTION WHEN raise_exception THEN INSERT INTO log (what) VALUES ('x' || r.id); END;
		EXIT WHEN r.id > 25; END LOOP; END $$) if $n < 0.75;
	# What a cursor that goes backward makes of a volatile function is nobody's promise.
	my $name = 'c' . ++$cursors;
	my $scroll = rand() < 0.5;
	$volatile &&= !$scroll;
	my @moves = $scroll ? ('LAST', 'PRIOR', 'BACKWARD 4', 'ABSOLUTE 3', 'FIRST', 'ALL') : ();
	return "DECLARE $name " . ($scroll ? 'SCROLL ' : any('', 'NO SCROLL ')) . 'CURSOR FOR ' . query(0),
		map { any("FETCH 1 FROM $name", "FETCH 5 FROM $name", "MOVE 2 FROM $name", "UPDATE m SET txt = 'rain' WHERE id = " . any(1 .. 40),
			(map { "FETCH $_ FROM $name" } @moves), "SAVEPOINT s; FETCH 7 FROM $name; ROLLBACK TO s") } 1 .. 1 + rand 5;
}

srand 11;
my @settings = ('', 'enable_hashjoin = off', 'enable_nestloop = off', 'enable_seqscan = off', 'enable_hashagg = off', 'fsi_intent.batch_rows = 2', "work_mem = '64kB'");
my @scripts = map {
	my $setting = any(@settings);
	[ $setting ? "SET LOCAL $setting" : (), map { statements() } 1 .. 1 + rand 3 ]
} 1 .. 100;

# psql's output, a piece for each script.
sub played
{
	my ($batch) = @_;
	my $sql = "\\set VERBOSITY terse\n\\set ON_ERROR_ROLLBACK on\nSET fsi_intent.enable_batch = $batch;\n";
	$sql .= join("\n", '\echo script', 'BEGIN;', $tables, (map { "$_;" } @$_),
		'SELECT * FROM log ORDER BY n, what;', 'SELECT * FROM m ORDER BY id;', 'SELECT * FROM o ORDER BY id, txt;',
		'SELECT *, tableoid::regclass FROM p ORDER BY id, txt;', 'ROLLBACK;', '') for @scripts;
	my $out = '';
	IPC::Run::run([ 'psql', '-XAq', '-d', $node->connstr('postgres'), '-f', '-' ], '<', \$sql, '>', \$out, '2>&1', IPC::Run::timeout(180));
	$out =~ s/^psql:[^ ]* //mg;
	return split /^script\n/m, $out;
}

my ($with, $without) = map { [ played($_) ] } qw(on off);
is(scalar @$with, @scripts + 1, 'each script has its output');
my @differ = grep { $with->[ $_ + 1 ] ne $without->[ $_ + 1 ] } 0 .. $#scripts;
is("@differ", '', 'and the same with and without batches');
diag(join ";\n", "script $_", @{ $scripts[$_] }, "with: $with->[$_ + 1]without: $without->[$_ + 1]") for @differ[ 0 .. ($#differ > 1 ? 1 : $#differ) ];
my @errors = join('', @$with) =~ /^ERROR:  (.*)/mg;
note(scalar(@errors) . ' errors: ' . join ', ', sort { $a cmp $b } do { my %seen; grep { !$seen{$_}++ } @errors });
cmp_ok(scalar @errors, '<', @scripts / 5, 'few of their statements are wrong');

done_testing();
