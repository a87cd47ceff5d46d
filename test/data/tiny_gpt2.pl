#!/usr/bin/perl
# Write a tiny GPT-2 with random weights as a Hugging Face directory, of the prompt layout or with a pointing readout (LAYOUT
# "segments"), or of the prompt layout with GPT-2's bytes for a vocabulary and no merges ("bytes").
#
#   tiny_gpt2.pl DIR [SEED [POSITIONS [LAYOUT]]]
#
# 2 layers of 2 heads, width 32, 256 positions unless told otherwise; WordPiece with lower-case letters, digits, punctuation and a few
# words: a word with an upper-case letter is [UNK]. The same seed gives the same bytes everywhere.
use strict;
use warnings;

my ($dir, $seed, $positions, $layout) = @ARGV;
die "usage: $0 DIR [SEED [POSITIONS [LAYOUT]]]\n" unless defined $dir;
$seed //= 1;
$positions //= 256;
$layout //= 'prompt';
mkdir $dir;

my @vocab = qw([PAD] [UNK] [CLS] [SEP] [MASK]);
push @vocab, map { chr } 33 .. 47, 58 .. 64, 91 .. 96, 123 .. 126;
push @vocab, 'a' .. 'z', 0 .. 9;
push @vocab, map { "##$_" } 'a' .. 'z', 0 .. 9;
push @vocab, qw(text intent refund order track cancel money back where is my parcel the a i want to it please card
  lost other none of these 退 款 查 询 订 单);
my %seen;
@vocab = grep { !$seen{$_}++ } @vocab;

my ($layers, $heads, $width, $inner) = (2, 2, 32, 64);

sub put
{
	my ($file, $data) = @_;
	open my $out, '>:raw', "$dir/$file" or die "$dir/$file: $!";
	print $out $data;
	close $out or die "$dir/$file: $!";
}

if ($layout eq 'bytes')
{
	# A byte that prints stands for itself, the others for the characters from 256 on.
	my $next = 256;
	@vocab = map { chr($_ >= 33 && $_ <= 126 || $_ >= 161 && $_ != 173 ? $_ : $next++) } 0 .. 255;
	push @vocab, '<|endoftext|>';
	my $json = join(',', map { '"' . ($vocab[$_] =~ s/(["\\])/\\$1/r) . "\":$_" } 0 .. $#vocab);
	utf8::encode($json);
	put('vocab.json', "{$json}");
	put('merges.txt', "#version: 0.2\n");
}
put('vocab.txt', join('', map { "$_\n" } @vocab)) if $layout ne 'bytes';
put('tokenizer_config.json', $layout eq 'bytes' ? '{"tokenizer_class": "GPT2Tokenizer"}' : '{"do_lower_case": false, "unk_token": "[UNK]", "sep_token": "[SEP]", '
	  . '"pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}');
my $special = '"bos_token_id": 50256, "eos_token_id": 50256';
$special = '"bos_token_id": 256, "eos_token_id": 256' if $layout eq 'bytes';
$special = '"bos_token_id": 2, "eos_token_id": 3, "fsi": {"layout": "segments", "readout": {"spelling_weight": 1, '
  . '"description_weight": 1, "example_sharpness": 0, "name_share": 0.5, "name_scale": 10, "name_bias": 0, "both_scale": 10, '
  . '"both_bias": 0, "example_scale": 10, "example_bias": 0, "other_logit": 0}, "spelling": {"buckets": 65536, "grams": 3, '
  . '"max_count": 255, "word_prefix": 1, "word_count": 2, "hash": "crc32"}}' if $layout eq 'segments';
put('config.json', sprintf('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_layer": %d, "n_head": %d, '
	  . '"n_embd": %d, "n_inner": %d, "n_positions": %d, "vocab_size": %d, "activation_function": "gelu_new", '
	  . '"layer_norm_epsilon": 1e-05, %s}',
	$layers, $heads, $width, $inner, $positions, scalar @vocab, $special));

# A linear congruential generator (Numerical Recipes); the sum of four draws is near enough to normal.
my $state = $seed;
sub draw
{
	my $sum = 0;
	for (1 .. 4)
	{
		$state = ($state * 1664525 + 1013904223) % 4294967296;
		$sum += $state / 4294967296 - 0.5;
	}
	return $sum;
}

my (@header, $body);
$body = '';
sub tensor
{
	my ($name, $scale, $offset, @shape) = @_;
	my $n = 1;
	$n *= $_ for @shape;
	my $from = length $body;
	$body .= pack('f<*', map { $offset + ($scale ? $scale * draw() : 0) } 1 .. $n);
	push @header, sprintf('"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%d,%d]}',
		$name, join(',', @shape), $from, length $body);
}

tensor('wte.weight', 0.5, 0, scalar @vocab, $width);
tensor('wpe.weight', 0.1, 0, $positions, $width);
for my $i (0 .. $layers - 1)
{
	tensor("h.$i.ln_1.weight", 0, 1, $width);
	tensor("h.$i.ln_1.bias", 0, 0, $width);
	tensor("h.$i.attn.c_attn.weight", 0.4, 0, $width, 3 * $width);
	tensor("h.$i.attn.c_attn.bias", 0.1, 0, 3 * $width);
	tensor("h.$i.attn.c_proj.weight", 0.4, 0, $width, $width);
	tensor("h.$i.attn.c_proj.bias", 0.1, 0, $width);
	tensor("h.$i.ln_2.weight", 0, 1, $width);
	tensor("h.$i.ln_2.bias", 0, 0, $width);
	tensor("h.$i.mlp.c_fc.weight", 0.4, 0, $width, $inner);
	tensor("h.$i.mlp.c_fc.bias", 0.1, 0, $inner);
	tensor("h.$i.mlp.c_proj.weight", 0.4, 0, $inner, $width);
	tensor("h.$i.mlp.c_proj.bias", 0.1, 0, $width);
}
tensor('ln_f.weight', 0, 1, $width);
tensor('ln_f.bias', 0, 0, $width);
if ($layout eq 'segments')
{
	tensor('fsi.readout.q', 0.3, 0, $width, $width);
	tensor('fsi.readout.k', 0.3, 0, $width, $width);
	tensor('fsi.spelling.idf', 0, 1, 65536);
}

my $json = '{' . join(',', @header) . '}';
$json .= ' ' while length($json) % 8;
put('model.safetensors', pack('Q<', length $json) . $json . $body);
