#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Chains by the name that a client asks for: Postfix's keys, a rebuilt table, a vault that has never
# heard the name.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Vault;
use Test::More;

need('openssl');
my $dir = tempdir('sni');
my %pair = map { $_ => pair("$dir/$_", 'p256', name => $_) } qw(main mx.test rsa.test wild new other);
my $rsa = pair("$dir/second", 'rsa', name => 'rsa.test');
spew("$dir/main.cf", "data_directory = $dir\n");

sub build_table {
    my ($name, %rows) = @_;
    spew("$dir/$name", join '', map {"$_ $rows{$_}\n"} sort keys %rows);
    run_ok("gatemap -F $name", build() . '/sbin/gatemap', '-c', $dir, '-F', "hash:$dir/$name");
    return "hash:$dir/$name";
}
sub service { "{ $_[0] { } { } { $pair{main}{chain} } { $_[1] } { } no }" }

my %rows = ('mx.test' => $pair{'mx.test'}{chain}, '.wild.test' => "$pair{wild}{key}, $pair{wild}{cert}",
    'rsa.test' => "$pair{'rsa.test'}{chain} $rsa->{chain}", 'broken.test' => $pair{main}{key});
my $table = build_table('sni', %rows);
my $other = build_table('more', 'other.test' => $pair{other}{chain});
spew("$dir/clear", "clear.test $pair{main}{chain}\n");
run_ok('a table without -F', build() . '/sbin/gatemap', '-c', $dir, "hash:$dir/clear");
my %vault = (files => [$pair{main}{chain}], tables => [$table, $other, "hash:$dir/clear"],
    services => service('smtp/inet', "$table, hash:$dir/clear") . ' ' . service('other/inet', $other));
my $v = Gatepost::Vault->new(%vault);
is($v->{state}, 'ready', 'ready') or diag($v->log_text);
$v->peer(s => 'smtpd', 'smtp/inet');
$v->peer(o => 'smtpd', 'other/inet');

# (result, [[id, certs], …])
sub name {
    my ($v, $peer, $name) = @_;
    my @chains;
    $v->order("name $peer $name");
    while (1) {
        my (undef, $what, @rest) = $v->said or die 'the stage has ended';
        return ($rest[0], \@chains) if $what eq 'name-end';
        push @chains, [$rest[0], pack 'H*', $rest[1]];
    }
}
my $chain = sub { [map { [$_->{id}, der_list($_->{der})] } @_] };
my @cases = (
    ['mx.test', 0, $pair{'mx.test'}], ['MX.Test', 0, $pair{'mx.test'}], ['a.wild.test', 0, $pair{wild}],
    ['a.b.wild.test', 0, $pair{wild}], ['wild.test', 1], ['x.mx.test', 1], ['nothing', 1], ['test', 1],
    ['rsa.test', 0, $pair{'rsa.test'}, $rsa], ['broken.test', 2], ['clear.test', 2],
    ['.wild.test', 1], ['a..wild.test', 1], ['a/b.wild.test', 1], ['x' x 260 . '.wild.test', 1], ['other.test', 1],
);
for (@cases) {
    my ($name, $want, @pairs) = @$_;
    my ($result, $chains) = name($v, 's', $name);
    is($result, $want, substr $name, 0, 20);
    is_deeply($chains, $chain->(@pairs), '  its chains');
}
ok($v->find_log(qr/tls_server_sni_maps: broken\.test: a key without a certificate/), 'a broken value is logged');
ok($v->find_log(qr/tls_server_sni_maps: clear\.test: not in base64; expected a table that "gatemap -F" makes/), 'so is a clear one');
is((name($v, 'o', 'mx.test'))[0], 1, "another service has not this one's names");

sub signs { my ($v, $peer, $id) = @_; ($v->sign($peer, $id, '0403', tls13('server')))[0] }
is(signs($v, 's', $pair{'mx.test'}{id}), 0, 'its key signs');
isnt(signs($v, 'o', $pair{'mx.test'}{id}), 0, 'not for another service');

# A vault that was started behind the name's question.
my $fresh = Gatepost::Vault->new(%vault);
$fresh->peer(s => 'smtpd', 'smtp/inet');
is(signs($fresh, 's', $pair{wild}{id}), 0, 'a new vault finds a key by its id');
is(($fresh->sign('s', $rsa->{id}, '0804', tls13('server')))[0], 0, 'also the second one of a name');
is(signs($fresh, 's', $pair{other}{id}), 1, "but no other table's");

# A table that was built anew.
build_table('sni', 'mx.test' => $pair{new}{chain});
$v->order("table hash:$dir/sni");
my (undef, $chains) = name($v, 's', 'mx.test');
is_deeply($chains, $chain->($pair{new}), 'a rebuilt table is in force');
is(signs($v, 's', $pair{new}{id}), 0, 'its key signs');
is(signs($v, 's', $pair{'mx.test'}{id}), 0, 'and the old one, for handshakes under way');
is((name($v, 's', 'a.wild.test'))[0], 1, 'a name that went is gone');
$fresh->order("table hash:$dir/sni");
is_deeply((name($fresh, 's', 'mx.test'))[1], $chain->($pair{new}), 'in both');
done_testing();
