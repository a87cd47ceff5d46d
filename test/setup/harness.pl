#!/usr/bin/perl
# Run tests that speak TAP and count what they said.
#
#   harness.pl COUNTS-FILE [-IDIR]... TEST...     *.pl runs under perl, anything else runs itself
#
# Writes "passed failed skipped" to COUNTS-FILE; exits 0 when nothing failed.
use strict;
use warnings;
use TAP::Harness;

my $counts = shift;
my @lib;
push @lib, substr(shift, 2) while @ARGV && $ARGV[0] =~ /^-I/;

my $skipped = 0;
my $harness = TAP::Harness->new(
	{
		exec => sub {
			my ($self, $test) = @_;
			return $test =~ /\.pl$/ ? [ $^X, (map { "-I$_" } @lib), $test ] : [$test];
		},
		merge => 0,
		timer => 1,
		verbosity => $ENV{HARNESS_VERBOSE} ? 1 : 0,
	});
$harness->callback(
	made_parser => sub {
		my ($parser) = @_;
		$parser->callback(plan => sub { $skipped++ if $_[0]->directive eq 'SKIP' });
	});
my $all = $harness->runtests(@ARGV);

# A skipped test counts as passed in TAP. A program that died, or broke its plan, is one failure more.
my $skips = scalar $all->skipped;
my $failed = scalar $all->failed;
for my $parser ($all->parsers)
{
	$failed++ if !$parser->failed && ($parser->exit || $parser->wait || $parser->parse_errors);
}
open my $out, '>', $counts or die "$counts: $!";
printf $out "%d %d %d\n", $all->passed - $skips, $failed, $skips + $skipped;
close $out or die "$counts: $!";
exit($failed ? 1 : 0);
