/*
 * A PKCS#11 module that forwards to another and misbehaves when it is told to; for tests alone.
 *
 * Beside the file that SOFTHSM2_CONF names, which differs from node to node, lie two more:
 *
 *   <it>.module   the path of the module behind
 *   <it>.fault    what to do wrong, read anew at each call; no file, nothing
 *
 *   stall         no call returns as long as the word stands, at most 30 s each
 *   gone          every call says that the token was removed
 *   lie           signatures and wrapped keys come back with one bit changed
 *   swap N        the Nth key that this process unwraps, from 0, is another, of the right kind
 *
 * The function list is that of PKCS#11 v2.40: a version, then 68 functions in the order of pkcs11f.h. Those that a node
 * calls after it has logged in are replaced, the others are those of the module behind.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long word;
typedef word (*function)();

enum { FUNCTIONS = 68, TOKEN_INFO = 6, CREATE_OBJECT = 20, FIND_INIT = 26, SIGN_INIT = 42, SIGN = 43, WRAP = 60, UNWRAP = 61 };
enum { CKR_OK = 0, CKR_GENERAL_ERROR = 5, CKR_DEVICE_REMOVED = 0x32 };
enum { CKA_VALUE = 0x11, SECRET_BYTES = 32, STALL_STEPS = 1500, STALL_STEP_US = 20000 };

struct list {
    unsigned char version[2];
    function functions[FUNCTIONS];
};
struct mechanism {
    word kind;
    void *parameter;
    word length;
};
struct attribute {
    word kind;
    void *value;
    word length;
};

static struct list *behind, ours;

static int beside(const char *suffix, char *text, size_t room) {
    char path[4096];
    const char *conf = getenv("SOFTHSM2_CONF");
    if (!conf) return 0;
    snprintf(path, sizeof path, "%s.%s", conf, suffix);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int read = fgets(text, (int)room, file) != NULL;
    fclose(file);
    if (read) text[strcspn(text, "\n")] = 0;
    return read;
}

static int told(const char *word) {
    char text[64];
    return beside("fault", text, sizeof text) && !strcmp(text, word);
}

/* What stands before every call. */
static word before(void) {
    for (int step = 0; step < STALL_STEPS && told("stall"); step++) usleep(STALL_STEP_US);
    return told("gone") ? CKR_DEVICE_REMOVED : CKR_OK;
}

#define BEFORE                     \
    word refused = before();       \
    if (refused) return refused;

static word token_info(word slot, void *info) {
    BEFORE
    return behind->functions[TOKEN_INFO](slot, info);
}

static word find_init(word session, struct attribute *template, word count) {
    BEFORE
    return behind->functions[FIND_INIT](session, template, count);
}

static word sign_init(word session, struct mechanism *mechanism, word key) {
    BEFORE
    return behind->functions[SIGN_INIT](session, mechanism, key);
}

static word sign(word session, unsigned char *data, word length, unsigned char *signature, word *signed_length) {
    BEFORE
    word result = behind->functions[SIGN](session, data, length, signature, signed_length);
    if (!result && signature && *signed_length && told("lie")) signature[*signed_length - 1] ^= 1;
    return result;
}

static word wrap(word session, struct mechanism *mechanism, word wrapping, word key, unsigned char *wrapped,
                 word *length) {
    BEFORE
    word result = behind->functions[WRAP](session, mechanism, wrapping, key, wrapped, length);
    if (!result && wrapped && *length && told("lie")) wrapped[*length - 1] ^= 1;
    return result;
}

/* Another key of the asked kind, in place of the one that was wrapped. */
static word another(word session, struct attribute *template, word count, word *key) {
    struct attribute all[32];
    unsigned char value[SECRET_BYTES];
    if (count >= 32) return CKR_GENERAL_ERROR;
    memset(value, 0x5a, sizeof value);
    memcpy(all, template, count * sizeof *template);
    all[count] = (struct attribute){CKA_VALUE, value, sizeof value};
    return behind->functions[CREATE_OBJECT](session, all, count + 1, key);
}

static word unwrap(word session, struct mechanism *mechanism, word wrapping, unsigned char *wrapped, word length,
                   struct attribute *template, word count, word *key) {
    static unsigned long unwrapped;
    char swaps[64];
    BEFORE
    snprintf(swaps, sizeof swaps, "swap %lu", unwrapped++);
    if (told(swaps)) return another(session, template, count, key);
    return behind->functions[UNWRAP](session, mechanism, wrapping, wrapped, length, template, count, key);
}

static word function_list(struct list **list) {
    *list = &ours;
    return CKR_OK;
}

word C_GetFunctionList(struct list **list) {
    char module[4096];
    if (!behind) {
        void *library = beside("module", module, sizeof module) ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
        word (*get)(struct list **) = library ? (word (*)(struct list **))dlsym(library, "C_GetFunctionList") : NULL;
        if (!get || get(&behind)) return CKR_GENERAL_ERROR;
        ours = *behind;
        ours.functions[3] = (function)function_list;
        ours.functions[TOKEN_INFO] = (function)token_info;
        ours.functions[FIND_INIT] = (function)find_init;
        ours.functions[SIGN_INIT] = (function)sign_init;
        ours.functions[SIGN] = (function)sign;
        ours.functions[WRAP] = (function)wrap;
        ours.functions[UNWRAP] = (function)unwrap;
    }
    return function_list(list);
}
