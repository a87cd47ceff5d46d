/*
 * trie.c
 *	  Labels' token sequences as a compressed trie; equal sequences are found on the way.
 *
 * Labels are sorted by their tokens (with the end token), so that a node is a range of
 * neighbours and its depth the common prefix of the range's first and last.
 */
#include <stdlib.h>
#include <string.h>

#include "trie.h"

typedef struct SortedLabel
{
	const int32_t *ids;
	int			n;
	int			label;
} SortedLabel;

static int
by_tokens(const void *a, const void *b)
{
	const SortedLabel *x = a,
			   *y = b;
	int			n = x->n < y->n ? x->n : y->n;

	for (int i = 0; i < n; i++)
		if (x->ids[i] != y->ids[i])
			return x->ids[i] < y->ids[i] ? -1 : 1;
	if (x->n != y->n)
		return x->n < y->n ? -1 : 1;
	return (x->label > y->label) - (x->label < y->label);
}

static int
common_prefix(const SortedLabel *a, const SortedLabel *b)
{
	int			n = a->n < b->n ? a->n : b->n,
				i = 0;

	while (i < n && a->ids[i] == b->ids[i])
		i++;
	return i;
}

static bool
equal_tokens(const SortedLabel *a, const SortedLabel *b)
{
	return a->n == b->n && memcmp(a->ids, b->ids, (size_t) a->n * sizeof(int32_t)) == 0;
}

/* Equal neighbours with the smallest first label, then the smallest second; false if all differ. */
static bool
find_equal(int n, const SortedLabel *sorted, int *first, int *second)
{
	bool		found = false;

	for (int i = 1; i < n; i++)
	{
		int			a = sorted[i - 1].label,
					b = sorted[i].label;

		if (!equal_tokens(&sorted[i - 1], &sorted[i]) || (found && a > *first))
			continue;
		*first = a;
		*second = b;
		found = true;
	}
	return found;
}

/* Bytes of a label to show: at most 80, no character cut in two. */
static int
shown(const char *label)
{
	size_t		n = strnlen(label, 81);

	if (n > 80)
		for (n = 80; n > 0 && ((unsigned char) label[n] & 0xC0) == 0x80;)
			n--;
	return (int) n;
}

static FsiStatus
fail_collision(const char *const *labels, int a, int b, FsiError *err)
{
	fsi_fail(err, FSI_COLLISION, "intents \"%.*s\" and \"%.*s\" are the same tokens to this model",
			 shown(labels[a]), labels[a], shown(labels[b]), labels[b]);
	fsi_detail(err, "Intents number %d and %d have equal token sequences.", a + 1, b + 1);
	fsi_hint(err, "Spell one of them differently.");
	return FSI_COLLISION;
}

FsiStatus
label_collision(int n, const TokIds *ids, FsiArena *arena, int *first, int *second, FsiError *err)
{
	FsiArenaMark mark = fsi_arena_mark(arena);
	SortedLabel *sorted = fsi_arena_array(arena, n, sizeof(SortedLabel));
	bool		found;

	if (sorted == NULL)
		return fsi_nomem(err, (size_t) n * sizeof(SortedLabel));
	for (int i = 0; i < n; i++)
		sorted[i] = (SortedLabel) {ids[i].ids, (int) ids[i].n, i};
	qsort(sorted, n, sizeof(SortedLabel), by_tokens);
	found = find_equal(n, sorted, first, second);
	fsi_arena_release(arena, mark);
	return !found ? FSI_OK : fsi_fail(err, FSI_COLLISION, "intents number %d and %d are the same tokens to this model",
									  *first + 1, *second + 1);
}

/* Copy every label's tokens and the end token into one block; check them on the way. */
static FsiStatus
copy_labels(const Gpt2Config *cfg, int n_label, const TokIds *label_ids, const char *const *labels,
			FsiArena *arena, SortedLabel *out, int *longest, FsiError *err)
{
	size_t		total = 0;
	int32_t    *ids;

	*longest = 0;
	for (int i = 0; i < n_label; i++)
	{
		if (label_ids[i].n >= (size_t) cfg->n_positions)
			return fsi_fail(err, FSI_LIMIT, "intent \"%.*s\" has %zu tokens, the model has %d positions",
							shown(labels[i]), labels[i], label_ids[i].n, cfg->n_positions);
		total += label_ids[i].n + 1;
		*longest = (int) label_ids[i].n > *longest ? (int) label_ids[i].n : *longest;
	}
	ids = fsi_arena_array(arena, total, sizeof(int32_t));
	if (ids == NULL)
		return fsi_nomem(err, total * sizeof(int32_t));
	for (int i = 0; i < n_label; i++)
	{
		int			n = (int) label_ids[i].n;

		for (int t = 0; t < n; t++)
		{
			if (label_ids[i].ids[t] < 0 || label_ids[i].ids[t] >= cfg->n_vocab)
				return fsi_fail(err, FSI_INVALID, "intent \"%.*s\" has a token outside the vocabulary",
								shown(labels[i]), labels[i]);
			if (label_ids[i].ids[t] == cfg->end)
				return fsi_fail(err, FSI_INVALID, "intent \"%.*s\" contains the model's end token",
								shown(labels[i]), labels[i]);
			ids[t] = label_ids[i].ids[t];
		}
		ids[n] = cfg->end;
		out[i] = (SortedLabel) {ids, n + 1, i};
		ids += n + 1;
	}
	return FSI_OK;
}

/* Fill node, whose labels are sorted[lo .. hi) and whose edge begins at depth. */
static void
fill_node(TrieNode *node, const SortedLabel *sorted, int lo, int hi, int depth, bool root)
{
	int			end = hi - lo == 1 ? sorted[lo].n : common_prefix(&sorted[lo], &sorted[hi - 1]);

	memset(node, 0, sizeof(*node));
	node->edge = sorted[lo].ids + depth;
	node->n_edge = root ? 0 : end - depth;
	node->label = hi - lo == 1 && !root ? sorted[lo].label : -1;
	node->n_label = hi - lo;
	node->min_label = sorted[lo].label;
	for (int i = lo + 1; i < hi; i++)
		node->min_label = sorted[i].label < node->min_label ? sorted[i].label : node->min_label;
}

/* Breadth first: a node's children are appended together. at[i]: range and depth of node i. */
static void
grow(Trie *trie, const SortedLabel *sorted, int (*at)[3])
{
	fill_node(&trie->nodes[0], sorted, 0, trie->n_label, 0, true);
	trie->nodes[0].parent = -1;
	at[0][0] = 0, at[0][1] = trie->n_label, at[0][2] = 0;
	trie->n_node = 1;
	for (int i = 0; i < trie->n_node; i++)
	{
		TrieNode   *node = &trie->nodes[i];
		int			lo = at[i][0],
					hi = at[i][1],
					depth = at[i][2] + node->n_edge;

		if (node->label >= 0)
			continue;
		node->first_child = trie->n_node;
		for (int from = lo, to; from < hi; from = to)
		{
			TrieNode   *child = &trie->nodes[trie->n_node];

			for (to = from + 1; to < hi && sorted[to].ids[depth] == sorted[from].ids[depth];)
				to++;
			fill_node(child, sorted, from, to, depth, false);
			child->parent = i;
			at[trie->n_node][0] = from, at[trie->n_node][1] = to, at[trie->n_node][2] = depth;
			trie->n_node++;
			node->n_child++;
			node->deep |= child->label < 0;
			node->long_child |= child->n_edge > 1;
		}
		trie->max_children = node->n_child > trie->max_children ? node->n_child : trie->max_children;
	}
}

FsiStatus
trie_build(const Gpt2Config *cfg, int n_label, const TokIds *label_ids, const char *const *labels,
		   FsiArena *arena, Trie **out, FsiError *err)
{
	Trie	   *trie = fsi_arena_zero(arena, 1, sizeof(Trie));
	SortedLabel *sorted = fsi_arena_array(arena, n_label, sizeof(SortedLabel));
	int			(*at)[3] = fsi_arena_array(arena, 2 * (size_t) n_label + 1, sizeof(*at));
	int			a,
				b;

	if (n_label < 1)
		return fsi_fail(err, FSI_INVALID, "no intents to choose from");
	if (cfg->end < 0 || cfg->end >= cfg->n_vocab)
		return fsi_fail(err, FSI_UNSUPPORTED, "the model has no end token, so it cannot choose between intents");
	if (trie == NULL || sorted == NULL || at == NULL)
		return fsi_nomem(err, (size_t) n_label * (sizeof(*sorted) + 2 * sizeof(*at)));
	trie->n_label = n_label;
	trie->nodes = fsi_arena_array(arena, 2 * (size_t) n_label + 1, sizeof(TrieNode));
	if (trie->nodes == NULL)
		return fsi_nomem(err, (2 * (size_t) n_label + 1) * sizeof(TrieNode));
	FSI_TRY(copy_labels(cfg, n_label, label_ids, labels, arena, sorted, &trie->max_tokens, err));
	qsort(sorted, n_label, sizeof(SortedLabel), by_tokens);
	if (find_equal(n_label, sorted, &a, &b))
		return fail_collision(labels, a, b, err);
	grow(trie, sorted, at);
	*out = trie;
	return FSI_OK;
}

int
trie_ahead(const Trie *trie, Gpt2Seq *seqs)
{
	const TrieNode *root = &trie->nodes[0];
	int			n = 0,
				n_token = 0;

	for (int i = 0; i < root->n_child; i++)
	{
		const TrieNode *child = &trie->nodes[root->first_child + i];

		if (child->label >= 0)
			continue;
		n_token += child->n_edge;
		if (n_token > TRIE_AHEAD)
			return 0;
		seqs[n].n_token = child->n_edge;
		seqs[n++].tokens = child->edge;
	}
	return n;
}

int
trie_max_tokens(const Trie *trie)
{
	return trie->max_tokens;
}
