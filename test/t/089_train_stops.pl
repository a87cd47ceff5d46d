# A training is killed at each kind of step that it takes with its files, and has its disk filled there: the model that it
# is to replace answers until the new one is registered, the same call goes on from the last whole checkpoint, its result
# has the bits of an undisturbed one, and no file is left. So is an export.
use strict;
use warnings;
use Fsi;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-o', "$dir/stop_at.so", 'test/data/stop_at.c', '-ldl');
make_tiny("$dir/tiny", 4, 64);

# What is not in the page cache when a process is killed is not lost with it: no fsync, or each restart waits for one of all.
# The WAL is written by nobody but who commits.
my $node = do
{
	local $ENV{LD_PRELOAD} = "$dir/stop_at.so";
	local $ENV{FSI_STOP_AT} = "$dir/stop";
	fsi_node('train_stops', "jit = off\nrestart_after_crash = on\nautovacuum = off\nfsync = off\nwal_writer_delay = 10s");
};
system_or_bail('psql', '-Xqo', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-v', "tiny=$dir/tiny", '-d', $node->connstr('postgres'), '-f',
	'test/data/train_rows.sql');

# Two results for one name, of two seeds, replace each other. Steps 2, 4 and 6 are the best so far, step 3 is none.
my @saved = (2, 3, 4, 6);
sub call
{
	my ($name, $seed, $more) = @_;
	return "CALL fsi_train('$name', 'rows', '{\"model\": \"tiny\", \"seed\": $seed, \"max_steps\": 6, \"learning_rate\": 0.001, \"eval_steps\": 2,"
		. " \"save_steps\": 3, \"early_stopping_patience\": 0, \"eval_answers\": 0" . ($more // ', "replace": true') . '}\');';
}
# The model's identity, and the bits of its answers.
my $look = q{SELECT (SELECT sha256 FROM fsi_models WHERE name = 'm') || ' ' || md5(string_agg(encode(float8send(score), 'hex'), ',' ORDER BY prompt, intent))
	FROM rows, fsi_scores(prompt, ARRAY['refund', 'track order'], '{"model": "m", "template": "{text}"}');};
# Names of files with what differs between runs as a pattern.
sub kind
{
	my ($name) = @_;
	$name =~ s/[0-9a-f]{16,}/*/g;
	$name =~ s/\b\d+_\*\.fsi/*.fsi/;
	$name =~ s/import_\d+/import_*/;
	$name =~ s/events\..*/events.*/;
	$name =~ s/-\d+/-*/g;
	$name =~ s/train_.*/train_*/;
	return $name;
}
sub files
{
	my $folder = $node->data_dir . '/fsi_intent';
	return join ' ', sort map { kind(substr $_, 1 + length $folder) } glob("$folder/* $folder/pgsql_tmp*/*");
}
sub stop_at
{
	my ($what) = @_;
	open my $f, '>', "$dir/stop" or die $!;
	print $f $what;
	close $f;
}
sub go_on
{
	unlink "$dir/stop";
}

# Undisturbed: the results, and the steps.
my @result = (undef, map { $node->safe_psql('postgres', call('m', $_) . $look) } 1, 2);
isnt($result[1], $result[2], 'two seeds, two results');
my $files = files();
stop_at("trace $dir/trace");
is($node->safe_psql('postgres', call('m', 1) . $look), $result[1], 'the same call again, the same result');
go_on();
is(files(), $files, 'and the same files');
my @trace = map { kind($_) } split /\n/, slurp_file("$dir/trace");
my ($commit) = grep { $trace[$_] eq 'pwrite wal' } 0 .. $#trace;
my %places;
push @{ $places{ $trace[$_] } }, $_ for grep { $trace[$_] ne 'mkdir fsi_intent' } 0 .. $#trace;
cmp_ok(scalar keys %places, '>', 30, 'there are many kinds of steps');
my @kinds = sort { $places{$a}[-1] <=> $places{$b}[-1] } keys %places;

# Where an interrupted training goes on.
sub resumed_at
{
	my ($place) = @_;
	return undef if $place > $commit;
	my $last = grep { $_ eq 'rename last' } @trace[0 .. $place - 1];
	my $best = grep { $_ eq 'rename best' } @trace[0 .. $place - 1];
	return $last ? $saved[$last - 1] : $best ? $saved[0] : undef;
}
# Of the steps of a kind the last one, or of many in one file one in the middle: its number, and its place among all.
sub choose
{
	my ($kind) = @_;
	my @at = @{ $places{$kind} };
	my $n = $kind =~ /^write/ ? int((@at + 1) / 2) : @at;
	return ($n, $at[$n - 1]);
}
sub is_killed
{
	my ($call, $n, $kind) = @_;
	my $offset = -s $node->logfile;
	stop_at("kill $n $kind");
	my (undef, undef, $err) = $node->psql('postgres', $call);
	go_on();
	like($err, qr/server closed the connection/, "killed at $kind $n") or return;
	restarted($node, $offset);
}
my $earlier = 1;
sub check_resumed
{
	my ($what, $place) = @_;
	my $new = 3 - $earlier;
	my ($rc, $out, $err) = $node->psql('postgres', $look . call('m', $new) . $look);
	my @out = split /\n/, $out;
	is($out[0] // $err, $place > $commit ? $result[$new] : $result[$earlier], "$what: the model answers");
	is($out[1] // $err, $result[$new], "$what: trained to the same bits");
	is(($err =~ /going on .* at step (\d+) of 6/)[0], resumed_at($place), "$what: where it went on");
	is(files(), $files, "$what: the same files");
	$earlier = $new;
}

# Killed: what was written stays, so a sync makes no difference; a new file is like one half written, one that goes like another.
for my $kind (grep { !/^(?:\w*sync|create .*tmp|create events|write (?:plan|result)|unlink (?:plan|result|best|events|checked|last.tmp))/ } @kinds)
{
	my ($n, $place) = choose($kind);
	is_killed(call('m', 3 - $earlier), $n, $kind);
	check_resumed("killed at $kind $n", $place);
}

# A full disk, for all that is written after that step: until the model is registered an error, and no other's.
for my $kind (grep { $places{$_}[-1] < $commit && /last|best|import|\.fsi|result/ && !/^(?:unlink|create)/ } @kinds)
{
	my ($n, $place) = choose($kind);
	stop_at("full $n $kind");
	my (undef, undef, $err) = $node->psql('postgres', call('m', 3 - $earlier));
	go_on();
	like($err, qr/ERROR: .*No space left on device/, "a full disk at $kind $n");
	check_resumed("full disk at $kind $n", $place);
}

# Checkpoints go only after a commit that is on disk, even where commits need not be.
{
	my ($n, $place) = choose('unlink last');
	is_killed('SET synchronous_commit = off; ' . call('m', 3 - $earlier), $n, 'unlink last');
	check_resumed('killed after an asynchronous commit', $place);
}

# A new name, killed when it stands for the model but the folder is there: there is nothing to go on with.
is_killed(call('n', 1, ''), 1, 'rename pgsql_tmp_train_*');
my (undef, undef, $err) = $node->psql('postgres', call('n', 1, ''));
like($err, qr/model "n" already exists/, 'a new name is trained once');
is(files(), "*.fsi $files checked-*-*", 'and its folder is gone');

# Told to go just then, it has finished: that is what the view says.
stop_at('term 1 rename pgsql_tmp_train_*');
(undef, undef, $err) = $node->psql('postgres', call('o', 1, ''));
go_on();
like($err, qr/terminating connection due to administrator command/, 'a process is told to go when its model is there');
is($node->safe_psql('postgres', q{SELECT state || (SELECT ' ' || source FROM fsi_models WHERE name = 'o') FROM fsi_training WHERE model = 'o'}),
	'finished trained', 'its training has finished');

# So it goes with a training of another name.
is_killed(call('q', 1, ''), 1, 'rename pgsql_tmp_train_*');
like(files(), qr/pgsql_tmp_train_\*/, 'the folder is there');
$node->safe_psql('postgres', call('p', 1, ''));
unlike(files(), qr/pgsql_tmp_train_\*/, 'the next training removes it, of whatever name');

# An export is killed: what it has left goes with the next one to that place, and only then.
my $out = "$dir/fsi_intent_out";
mkdir $out or die $!;
is_killed("SELECT fsi_export_model('m', '$out/m')", 1, 'write model.safetensors');
is(join(' ', map { kind(substr $_, 1 + length $out) } glob("$out/* $out/*/*")),
	'm.tmp-* ' . join(' ', map { "m.tmp-*/$_" } qw(config.json model.safetensors tokenizer.json tokenizer_config.json)), 'an export leaves what it has written');
$node->safe_psql('postgres', "SELECT fsi_export_model('m', '$out/n')");
is(scalar(() = glob "$out/m.tmp-*"), 1, 'one to another place leaves it there');
$node->safe_psql('postgres', "SELECT fsi_export_model('m', '$out/m'); SELECT fsi_import_model('m again', '$out/m')");
is(join(' ', map { substr $_, 1 + length $out } glob("$out/*")), 'm n', 'the next one to that place does not');

$node->stop;
done_testing();
