/* Says its version, or checks itself: who runs it, and what zlib makes of a text. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

int main(int count, char **words)
{
	const char *text = "the same the same the same the same the same";
	unsigned char packed[256];
	unsigned long length = sizeof packed;

	if (count > 1 && strcmp(words[1], "-V") == 0) {
		printf("memstore %s\n", VERSION);
		return 0;
	}
	if (compress(packed, &length, (const unsigned char *)text, strlen(text)) != Z_OK)
		return 1;
	printf("memstore %s, user %d, %lu bytes\n", VERSION, (int)getuid(), length);
	return getuid() == 11211 && length < strlen(text) ? 0 : 1;
}
