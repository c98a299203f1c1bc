#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Where keys and hashes are to be found in memory, read as root's debugger reads it: in no process,
# vault's own readable memory included. What is searched for is proved to be findable in a process
# that has it.
use strict;
use warnings;
no warnings "portable";
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Tables;
use Gatepost::Vault;
use Test::More;

plan skip_all => 'only root reads the memory of others' if $>;
plan skip_all => 'a sanitizer maps more memory than can be searched'
    if slurp(build() . '/config.h') =~ /^#define GP_SANITIZE/m;
need('openssl');

# ---- what there is to find ----

my $dir = tempdir('memory');
my %pair = map { $_ => pair("$dir/$_", $_) } qw(rsa p256 ed25519);
my $sni = pair("$dir/sni", 'rsa', name => 'sni.test');

# Numbers of a key as openssl prints them, as bytes; OpenSSL keeps them the other way round.
sub numbers {
    my ($path, @names) = @_;
    my $text = Gatepost::Vault::openssl('pkey', '-in', $path, '-text', '-noout');
    my @found;
    for my $name (@names) {
        my ($hex) = $text =~ /^$name:\s*\n((?:\s+[0-9a-f:]+\n)+)/m or die "no $name in $text";
        my $bytes = pack 'H*', $hex =~ s/[\s:]//gr;
        $bytes =~ s/^\0+//;
        push @found, $bytes, scalar reverse $bytes;
    }
    return @found;
}
# Pieces of 16 bytes, so that a part is enough.
sub pieces { map { length $_ >= 16 ? (substr($_, 0, 16), substr($_, -16), substr($_, length($_) / 2 - 8, 16)) : $_ } @_ }

sub pem_lines { my @line = split /\n/, slurp($_[0]); @line[1 .. 2] }
my %key;
for (['rsa', $pair{rsa}{key}, qw(privateExponent prime1 prime2 exponent1 exponent2 coefficient)],
    ['sni', $sni->{key}, qw(privateExponent prime1 prime2 exponent1 exponent2 coefficient)],
    ['p256', $pair{p256}{key}, 'priv'], ['ed25519', $pair{ed25519}{key}, 'priv']) {
    my ($name, $path, @names) = @$_;
    # Of the PEM text the first line has no secret yet.
    my @text = (pem_lines($path))[1] // ();
    $key{$name} = [pieces(numbers($path, @names)), $name =~ /rsa|sni/ ? pieces(@text) : ()];
}
my $scram = scram_record('pa55-scram');
my $crypt = crypt_record('pa55-crypt');
my ($stored, $server) = $scram =~ /,([^,]{44}),([^,]{44})$/;
my %hash = (crypt => [substr $crypt, 20], scram => [$stored, $server]);

# ---- reading ----

# (bytes read, what was found, regions that cannot be read) in a process.
sub search {
    my ($pid, %wanted) = @_;
    my $read = 0;
    my (%found, @closed);
    open my $mem, '<:raw', "/proc/$pid/mem" or die "/proc/$pid/mem: $!";
    for my $map (split /\n/, slurp("/proc/$pid/maps")) {
        my ($from, $to, $rights, $name) = $map =~ /^(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)/ or next;
        next if $rights !~ /^r/ || $name =~ /^\[v/;
        my ($at, $end) = (hex $from, hex $to);
        while ($at < $end) {
            my $size = $end - $at > 1 << 20 ? 1 << 20 : $end - $at;
            sysseek $mem, $at, 0;
            my $bytes;
            my $n = sysread($mem, $bytes, $size);
            if (!$n) {
                push @closed, $name;
                last;
            }
            $read += $n;
            for my $what (keys %wanted) {
                for my $piece (@{ $wanted{$what} }) {
                    $found{$what}++ if index($bytes, $piece) >= 0;
                }
            }
            # What lies across the end of a piece is seen with the next.
            $at += $at + $n < $end && $n > 64 ? $n - 64 : $n;
        }
    }
    return ($read, [sort keys %found], \@closed);
}

# ---- who has them ----

my $sink = free_port();
my $secrets = table('hash', "$dir/logins", "joe $scram\nann $crypt\n");
spew("$dir/names", "sni.test $sni->{chain}\n");
spew("$dir/relays", "x.test relay:pa55-relay\n");
my $gp = Gatepost::Instance->new(
    main => {
        smtpd_tls_chain_files => join(' ', map { $pair{$_}{chain} } sort keys %pair),
        smtp_tls_cert_file => $pair{rsa}{cert}, smtp_tls_key_file => $pair{rsa}{key},
        tls_server_sni_maps => "hash:$dir/names", smtp_sasl_password_maps => "hash:$dir/relays",
        smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $secrets,
        smtpd_tls_security_level => 'may',
    },
);
is(($gp->tool('gatemap', '-F', "hash:$dir/names"))[0], 0, 'gatemap -F');
is(($gp->tool('gatemap', "hash:$dir/relays"))[0], 0, 'gatemap');
$gp->start;
my $tls = sub {
    my ($name, @more) = @_;
    return run_out('/bin/sh', '-c', 'echo QUIT | timeout 20 openssl s_client -quiet -starttls smtp -connect "$@" 2>&1',
        'sh', '127.0.0.1:' . $gp->port, '-servername', $name, @more);
};
for (1 .. 20) {
    my $c = $gp->session;
    is(scram($c, 'joe', 'pa55-scram')->{code}, 235, 'SCRAM') if $_ == 1;
    is(plain($c, 'ann', 'pa55-crypt')->{code}, 235, 'PLAIN') if $_ == 2;
    $c->quit;
}
my $can_tls = ($gp->session->cmd('EHLO x')->{text} // '') =~ /STARTTLS/;
if ($can_tls) {
    for my $how ([], ['-tls1_2'], ['-sigalgs', 'ecdsa_secp256r1_sha256'], ['-sigalgs', 'rsa_pss_rsae_sha256'], ['-sigalgs', 'ed25519']) {
        $tls->($_, @$how) for ('mx.test', 'sni.test') x 4;
    }
}

my $has_memfd = system('perl', '-e', 'exit(syscall(447, 0) < 0)') == 0;
my $roles = $gp->roles;
my %vault = map { $_ => 1 } @{ $roles->{vault} };
my $secret_memory = 0;
for my $role (sort keys %$roles) {
    for my $pid (@{ $roles->{$role} }) {
        my $is_vault = $vault{$pid};
        # One that had nothing to do may have ended meanwhile.
        next if !$is_vault && !is_alive($pid);
        my ($read, $found, $closed) = search($pid, %key, %hash);
        cmp_ok($read, '>', 100_000, "$role $pid: read $read bytes");
        # Without that memory vault's tables are where it can be read.
        my @found = $is_vault && !$has_memfd ? () : @$found;
        is("@found", '', "$role: nothing of a key and no hash");
        $secret_memory++ if $is_vault && grep {/secretmem/} @$closed;
    }
}
SKIP: {
    skip 'the kernel has no memfd_secret', 1 if !$has_memfd;
    cmp_ok($secret_memory, '>=', 1, "vault's memory of keys cannot be read by root");
}

# ---- the same search where there is something to find ----

my $port = free_port();
for my $kind (sort keys %pair) {
    my $pid = spawn({}, 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-key', $pair{$kind}{key}, '-cert', $pair{$kind}{cert});
    my $found;
    ok(wait_until(10, sub { $found = (search($pid, $kind => $key{$kind}))[1]; @$found }), "a server with its key in itself: $kind is found");
    stop_pid($pid);
}
my $holder = spawn({}, 'perl', '-e', 'my $x = join "", <>; sleep 100', "$dir/logins");
ok(wait_until(10, sub { @{ (search($holder, %hash))[1] } == 2 }), 'a process with the hashes is found');
done_testing();
