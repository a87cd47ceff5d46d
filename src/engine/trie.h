/*
 * trie.h
 *	  The label trie's inside.  Private to src/engine (trie.c builds, trie_score.c walks).
 */
#ifndef ENGINE_TRIE_H
#define ENGINE_TRIE_H

#include "fsi_engine.h"

/*
 * Compressed: an edge holds all tokens up to the next branching, so every inner node but
 * the root has at least two children, whose edges differ in their first token.
 */
typedef struct TrieNode
{
	int			parent;
	int			first_child,	/* children are neighbours, ordered by first token */
				n_child;		/* 0: a leaf */
	const int32_t *edge;		/* tokens from the parent to here; a leaf's last one is the end token */
	int			n_edge;
	int			label;			/* a leaf's, else -1 */
	int			min_label;		/* smallest label below: decides between equal scores */
	int			n_label;		/* labels below, a leaf's own counts */
	bool		deep;			/* some child is an inner node */
	bool		long_child;		/* some child's edge has tokens after the first one */
} TrieNode;

struct Trie
{
	int			n_label;
	int			n_node;
	TrieNode   *nodes;			/* [0] is the root, its edge is empty */
	int			max_tokens;
	int			max_children;
};

#endif
